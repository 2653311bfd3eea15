//! The bindings, generated from the headers that were found.

use std::env;
use std::path::{Path, PathBuf};

use bindgen::callbacks::{EnumVariantCustomBehavior, EnumVariantValue, ParseCallbacks};

use crate::find::Found;

/// Types whose definitions and values are bound.
const TYPES: &[&str] = &[
    "dcp_cmd_t",
    "dmu_objset_type_t",
    "dsl_scan_state_t",
    "lzc_dataset_type",
    "lzc_send_flags",
    "pool_initialize_func_t",
    "pool_scan_func_t",
    "pool_scrub_cmd_t",
    "pool_state_t",
    "pool_trim_func_t",
    "spa_load_state_t",
    "vdev_aux_t",
    "vdev_initializing_state_t",
    "vdev_rebuild_state_t",
    "vdev_state_t",
    "vdev_trim_state_t",
    "checkpoint_state_t",
    "zfs_cache_type_t",
    "zfs_canmount_type_t",
    "zfs_deleg_inherit_t",
    "zfs_deleg_who_type_t",
    "zfs_dnsize_type_t",
    "zfs_errno_t",
    "zfs_keyformat_t",
    "zfs_keylocation_t",
    "zfs_keystatus_t",
    "zfs_logbias_op_t",
    "zfs_prop_t",
    "zfs_redundant_metadata_type_t",
    "zfs_smb_acl_op_t",
    "zfs_sync_type_t",
    "zfs_type_t",
    "zfs_userquota_prop_t",
    "zfs_volmode_t",
    "zfs_wait_activity_t",
    "zfs_xattr_type_t",
    "zio_encrypt",
    "zpool_errata_t",
    "zpool_prop_t",
    "zpool_wait_activity_t",
    "zprop_errflags_t",
    "zprop_source_t",
];

/// Macros that are bound: nvlist keys, limits and flags that no version has changed.
const MACROS: &[&str] = &[
    "(DEFAULT|MIN)_PBKDF2_ITERATIONS",
    "SNAP_ITER_(MIN|MAX)_TXG",
    "SPA_(MIN|OLD_MAX|MAX)BLOCK(SHIFT|SIZE)",
    "SPA_MINDEVSIZE",
    "VDEV_ALLOC_BIAS_.*",
    "VDEV_RAIDZ_MAXPARITY",
    "VDEV_TYPE_.*",
    "ZAP_MAX(NAME|VALUE)LEN",
    "ZCP_.*",
    "ZFS_DELEG_PERM_.*",
    "ZFS_DEV",
    "ZFS_EV_.*",
    "ZFS_IMPORT_.*",
    "ZFS_MAX_DATASET_NAME_LEN",
    "ZFS_(ONLINE|OFFLINE)_.*",
    "ZFS_SUPER_MAGIC",
    "ZFS_WAIT_.*",
    "ZPOOL_CONFIG_.*",
    "ZPOOL_ERR_.*",
    "ZPOOL_HIDDEN_ARGS",
    "ZPOOL_HIST_.*",
    "ZPOOL_INITIALIZE_.*",
    "ZPOOL_LOAD_.*",
    "ZPOOL_(NO|NEVER|TRY|DO|EXTREME)_REWIND",
    "ZPOOL_ROOTFS_PROPS",
    "ZPOOL_TRIM_.*",
    "ZPOOL_WAIT_.*",
    "ZPROP_(VALUE|SOURCE|SOURCE_VAL_RECVD|N_MORE_ERRORS|HAS_RECVD|MAX_COMMENT)",
];

/// Leaves out the enumerators that only count their neighbours: they grow with every version.
#[derive(Debug)]
struct NoCounts;

impl ParseCallbacks for NoCounts {
    fn enum_variant_behavior(
        &self,
        _enum_name: Option<&str>,
        name: &str,
        _value: EnumVariantValue,
    ) -> Option<EnumVariantCustomBehavior> {
        let count = name.contains("_NUM_")
            || [
                "_END",
                "_FUNCS",
                "_FUNCTIONS",
                "_MAX",
                "_NUMTYPES",
                "_FORMATS",
                "_LOCATIONS",
            ]
            .iter()
            .any(|suffix| name.ends_with(suffix));
        count.then_some(EnumVariantCustomBehavior::Hide)
    }
}

/// Writes `bindings.rs` to `OUT_DIR`, and returns its path.
pub(crate) fn bindings(found: &Found) -> Result<PathBuf, String> {
    let mut builder = bindgen::Builder::default()
        .header("build/bindings.h")
        .clang_arg("-D_GNU_SOURCE")
        .clang_args(
            found
                .include
                .iter()
                .map(|dir| format!("-I{}", dir.display())),
        )
        .allowlist_function("lzc_.*|libzfs_core_.*")
        // Declared by every version's header and defined by no version's library.
        .blocklist_function("lzc_send_progress")
        // The nvlist types are nvpair-sys's, and the record is written by hand in src/ioctl.
        .blocklist_type("nvlist|nvlist_t|dmu_replay_record")
        .raw_line("use crate::ioctl::dmu_replay_record;")
        .raw_line("use nvpair_sys::nvlist_t;")
        // The kernel may be newer than the headers: a value without a name must stay a number.
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_cstr(true)
        // The headers' comments are not ours to copy.
        .generate_comments(false)
        // Sizes and offsets are asserted where the structures are written by hand.
        .layout_tests(false)
        .use_core()
        .sort_semantically(true)
        .merge_extern_blocks(true)
        // Not rustfmt: its output depends on the toolchain that happens to be installed.
        .formatter(bindgen::Formatter::Prettyplease)
        .rust_target(bindgen::RustTarget::stable(85, 0).map_err(|error| error.to_string())?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .disable_header_comment()
        .parse_callbacks(Box::new(NoCounts));
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in MACROS {
        builder = builder.allowlist_var(name);
    }
    let out = env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?;
    let bindings = Path::new(&out).join("bindings.rs");
    builder
        .generate()
        .map_err(|error| format!("bindgen: {error}"))?
        .write_to_file(&bindings)
        .map_err(|error| format!("writing {}: {error}", bindings.display()))?;
    Ok(bindings)
}
