//! What the loaded library has: every bound function, and the newer ones as its version says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::CString;
use std::fs::File;

use zfs_core_sys::{libzfs_core_fini, libzfs_core_init, weak};

const BINDINGS: &str = include_str!("../src/bindings.rs");
const CHECKS: &str = include_str!("../abi/functions.c");

fn bound_functions() -> Vec<&'static str> {
    let functions: Vec<_> = BINDINGS
        .split("pub fn ")
        .skip(1)
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
        .collect();
    // 2.1.11 exports 48; fewer means that this function reads the file wrongly.
    assert_eq!(functions.len(), 48, "functions in src/bindings.rs");
    functions
}

fn is_exported(name: &str) -> bool {
    let name = CString::new(name).unwrap();
    // SAFETY: the name is NUL-terminated, and `RTLD_DEFAULT` needs no handle to be alive.
    !unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null()
}

#[test]
fn every_bound_function_is_exported() {
    // Without a call the linker leaves the library out.
    init();
    let missing: Vec<_> = bound_functions()
        .into_iter()
        .filter(|name| !is_exported(name))
        .collect();
    assert!(missing.is_empty(), "not exported: {missing:?}");
}

#[test]
fn the_function_without_a_definition_is_not_bound() {
    assert!(!bound_functions().contains(&"lzc_send_progress"));
    init();
    assert!(!is_exported("lzc_send_progress"));
}

#[test]
fn every_function_has_its_check_of_the_prototype() {
    let newer = weak::NAMES.iter().map(|name| name.to_str().unwrap());
    for name in bound_functions().into_iter().chain(newer) {
        assert!(CHECKS.contains(&format!("SAME({name}, ")), "{name}");
    }
}

#[test]
fn newer_functions_are_found_as_the_version_says() {
    init();
    let since_2_2 = [
        weak::lzc_ioctl_fd().is_some(),
        weak::lzc_send_wrapper().is_some(),
        weak::lzc_receive_with_heal().is_some(),
        weak::lzc_scrub().is_some(),
        weak::lzc_get_vdev_prop().is_some(),
        weak::lzc_set_vdev_prop().is_some(),
    ];
    let since_2_3 = [
        weak::lzc_get_props().is_some(),
        weak::lzc_pool_prefetch().is_some(),
        weak::lzc_ddt_prune().is_some(),
    ];
    assert_eq!(since_2_2.len() + since_2_3.len(), weak::NAMES.len());

    let version = env!(
        "ZFS_CORE_VERSION",
        "the tests need a library that pkg-config knows"
    );
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    assert!(version.starts_with("2."), "{version}");
    assert_eq!(since_2_2, [minor >= 2; 6], "{version}");
    assert_eq!(since_2_3, [minor >= 3; 3], "{version}");
}

/// Starts the library and returns its answer: 0 or an errno.
fn init() -> i32 {
    // SAFETY: the function has no preconditions, and locks what it shares.
    let result = unsafe { libzfs_core_init() };
    if result == 0 {
        // SAFETY: the library was started, and this balances it: no other call is made in between.
        unsafe { libzfs_core_fini() };
    }
    result
}

#[test]
fn starting_the_library_answers_what_opening_the_device_does() {
    // ENOENT where there is no module, EACCES without permission, 0 where there is both.
    let expected = match File::options().read(true).write(true).open("/dev/zfs") {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap(),
    };
    assert_eq!(init(), expected);
}
