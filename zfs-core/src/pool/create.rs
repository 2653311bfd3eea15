use super::Pool;
use super::compatibility::Compatibility;
use super::layout::Layout;
use super::set_properties::PoolPropertySet;
use crate::capabilities::Capabilities;
use crate::error::{Error, ErrorKind, Operation, Result, c_string};
use crate::history::Line;
use crate::key::{Encryption, input_with_key};
use crate::name::PoolName;
use crate::nv::NvMap;
use crate::props::{PropertySet, Setting};
use crate::zfs::Zfs;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zfs_core_sys::ioctl::{ZFS_IOC_POOL_CREATE, ZFS_IOC_POOL_DESTROY};

const OPERATION: Operation = Operation::CreatePool;

/// Which features a new pool has. A feature that is not enabled can be later, and none can be
/// disabled again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolFeatures {
    /// All that the module knows and that the property
    /// [`compatibility`](PoolPropertySet::compatibility) allows, as the `zpool` command does it.
    /// Older modules may then not be able to import the pool.
    #[default]
    All,
    /// Those of these short names: `async_destroy`. A name that the module does not know is
    /// refused (`Unsupported`).
    ///
    /// With none at all the pool still has features, and no older format: they can be enabled.
    These(Vec<String>),
}

/// Where the kernel keeps the configuration of a pool, so that the host's own scripts find the pool
/// after a reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheFile {
    /// In `/etc/zfs/zpool.cache`.
    #[default]
    Default,
    /// Nowhere: whoever wants the pool searches for it.
    None,
    /// In the file of this absolute path.
    At(PathBuf),
}

impl CacheFile {
    /// The property's value.
    pub(crate) fn value(&self, operation: Operation, object: &str) -> Result<CString> {
        match self {
            Self::Default => Ok(CString::default()),
            Self::None => Ok(c"none".into()),
            Self::At(path) => absolute(operation, object, path),
        }
    }
}

/// A path for the kernel.
pub(crate) fn absolute(operation: Operation, object: &str, path: &Path) -> Result<CString> {
    let refuse = |what: &str| {
        let detail = format!("{} {what}", path.display());
        Error::refused(operation, object, ErrorKind::InvalidArgument, detail)
    };
    if !path.is_absolute() {
        return Err(refuse("is not an absolute path"));
    }
    CString::new(path.as_os_str().as_bytes()).map_err(|_| refuse("contains a NUL character"))
}

/// How to create a pool.
///
/// ```no_run
/// use zfs_core::pool::{CreatePool, Layout, VdevSpec};
/// use zfs_core::props::{Compression, Mountpoint};
/// # fn main() -> zfs_core::Result<()> {
/// # let zfs = zfs_core::Zfs::open()?;
///
/// let layout = Layout::new()
///     .vdev(VdevSpec::mirror(["/dev/disk/by-id/a", "/dev/disk/by-id/b"]))
///     .ashift(12);
/// let options = CreatePool::new(layout).set(Compression::Lz4).set(Mountpoint::new("none")?);
/// let tank = zfs.create_pool("tank", &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CreatePool {
    layout: Layout,
    features: PoolFeatures,
    properties: PoolPropertySet,
    root: PropertySet,
    encryption: Option<Encryption>,
    altroot: Option<PathBuf>,
    temporary_name: Option<String>,
    overwrite: bool,
}

impl CreatePool {
    /// A pool of this layout.
    pub fn new(layout: impl Into<Layout>) -> Self {
        Self {
            layout: layout.into(),
            features: PoolFeatures::All,
            properties: PoolPropertySet::new(),
            root: PropertySet::new(),
            encryption: None,
            altroot: None,
            temporary_name: None,
            overwrite: false,
        }
    }

    /// The features it has.
    #[must_use]
    pub fn features(mut self, features: PoolFeatures) -> Self {
        self.features = features;
        self
    }

    /// The properties of the pool.
    #[must_use]
    pub fn properties(mut self, properties: PoolPropertySet) -> Self {
        self.properties = properties;
        self
    }

    /// Sets a property of the root filesystem, which the others inherit.
    #[must_use]
    pub fn set(mut self, setting: impl Setting) -> Self {
        self.root = self.root.set(setting);
        self
    }

    /// Sets all of `properties` on the root filesystem as well.
    #[must_use]
    pub fn root_properties(mut self, properties: &PropertySet) -> Self {
        self.root = self.root.merge(properties);
        self
    }

    /// Encrypts the root filesystem, and so what is created below it. Its key is loaded
    /// afterwards. The pool's own structures are not encrypted.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// What is put before its mount points, as long as it is imported. The pool is then in no
    /// [`CacheFile`] unless one is given.
    #[must_use]
    pub fn altroot(mut self, path: impl Into<PathBuf>) -> Self {
        self.altroot = Some(path.into());
        self
    }

    /// The name it has as long as it is imported; its own is only written to its devices. The
    /// pool is then in no [`CacheFile`] unless one is given.
    #[must_use]
    pub fn temporary_name(mut self, name: impl Into<String>) -> Self {
        self.temporary_name = Some(name.into());
        self
    }

    /// Takes devices that hold something else: a filesystem, a partition table, a pool that is not
    /// imported here. What is in use is refused nevertheless.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// The properties for the kernel, which are also the features and those of the root.
    fn to_nvmap(&self, name: &str, known: &Capabilities) -> Result<NvMap> {
        let refuse = |kind, why| Error::refused(OPERATION, name, kind, why);
        let mut props = self.properties.to_nvmap();
        if let Some(ashift) = self.layout.ashift {
            props.insert(c"ashift", u64::from(ashift));
        }
        if let Some(altroot) = &self.altroot {
            props.insert(c"altroot", absolute(OPERATION, name, altroot)?);
        }
        if let Some(temporary) = &self.temporary_name {
            let temporary = PoolName::new(temporary)?;
            props.insert(c"tname", temporary.as_c_str());
        }
        let is_unlisted = self.altroot.is_some() || self.temporary_name.is_some();
        if is_unlisted && props.get("cachefile").is_none() {
            props.insert(c"cachefile", c"none");
        }
        let allowed = Compatibility::read(props.str("compatibility"))
            .map_err(|why| refuse(ErrorKind::InvalidProperty, why))?;
        // The kernel says no more than that something is wrong.
        let is_unknown = |name: &&CStr| {
            let feature = name.to_bytes().strip_prefix(b"feature@");
            feature.is_some_and(|name| !known.has_pool_feature(&String::from_utf8_lossy(name)))
        };
        if let Some(name) = props.iter().map(|(name, _)| name).find(is_unknown) {
            let why = format!("the module does not know {}", name.to_string_lossy());
            return Err(refuse(ErrorKind::Unsupported, why));
        }
        let features = self
            .feature_names(known, &allowed)
            .map_err(|why| refuse(ErrorKind::Unsupported, why))?;
        for feature in features {
            let property = format!("feature@{feature}");
            props.insert(
                c_string(OPERATION, "the name of a feature", &property)?,
                0_u64,
            );
        }
        let mut root = self.root.to_nvmap();
        if let Some(encryption) = &self.encryption {
            encryption.add_to(&mut root)?;
        }
        if !root.is_empty() {
            props.insert(c"root-props-nvl", root);
        }
        Ok(props)
    }

    /// The line for the history.
    fn line(&self, name: &str) -> Line {
        let words = self.properties.words();
        let properties = words
            .into_iter()
            .flat_map(|word| [String::from("-o"), word]);
        Line::new("zpool create")
            .args(properties)
            .properties(Some("-O"), &self.root.to_nvmap())
            .arg(name)
            .args(self.layout.words())
    }

    /// The short names of the features.
    fn feature_names(
        &self,
        known: &Capabilities,
        allowed: &Compatibility,
    ) -> Result<Vec<String>, String> {
        match &self.features {
            PoolFeatures::All => Ok(known
                .pool_features
                .iter()
                .map(|guid| short(guid))
                .filter(|name| allowed.allows(name))
                .map(str::to_owned)
                .collect()),
            PoolFeatures::These(names) => names
                .iter()
                .map(|name| match known.has_pool_feature(name) {
                    true => Ok(short(name).to_owned()),
                    false => Err(format!("the module has no feature {name}")),
                })
                .collect(),
        }
    }
}

/// The name of a feature without its owner.
fn short(feature: &str) -> &str {
    feature.rsplit_once(':').map_or(feature, |(_, short)| short)
}

impl Zfs {
    /// Creates a pool.
    ///
    /// Its devices are looked at first: see [`Layout`], and [`CreatePool::overwrite`]. Nothing is
    /// mounted, though the root filesystem has the mount point `/NAME` unless it is given another
    /// ([`CreatePool::set`]), where the host's own scripts mount it after a reboot.
    ///
    /// The handle that is returned has the temporary name, if there is one.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `AlreadyExists` | a pool of that name is imported |
    /// | `InvalidArgument` | the layout breaks a rule, or has no vdev for data |
    /// | `DeviceTooSmall` | a device has less than 64 MiB |
    /// | `DeviceInUse` | a device is mounted, part of a pool, or holds something else |
    /// | `NotFound` | there is no such device |
    /// | `InvalidProperty` | the kernel refuses a property |
    /// | `Unsupported` | the module lacks a feature that is asked for, or that the layout needs |
    ///
    /// # Privileges
    ///
    /// Root. `zpool-create(8)`, request `ZFS_IOC_POOL_CREATE`.
    #[doc(alias = "ZFS_IOC_POOL_CREATE")]
    #[doc(alias = "zpool_create")]
    pub fn create_pool(&self, name: &str, options: &CreatePool) -> Result<Pool> {
        let new = |name: &str| -> Result<Pool> {
            Ok(Pool {
                zfs: self.clone(),
                name: PoolName::of_new_pool(name)?,
            })
        };
        let created = new(name)?;
        let pool = match &options.temporary_name {
            Some(temporary) => new(temporary)?,
            None => created.clone(),
        };
        let layout = options.layout.check(OPERATION, name)?;
        if !layout.has_data() {
            return Err(Error::refused(
                OPERATION,
                name,
                ErrorKind::InvalidArgument,
                "a pool has at least one vdev for data",
            ));
        }
        if pool.exists()? {
            return Err(Error::refused(
                OPERATION,
                name,
                ErrorKind::AlreadyExists,
                "a pool of that name is imported",
            ));
        }
        let props = options.to_nvmap(name, &self.capabilities()?)?;
        // The kernel panics when it counts a draid to a feature that is not there.
        if layout.has_draid() && props.get("feature@draid").is_none() {
            return Err(Error::refused(
                OPERATION,
                name,
                ErrorKind::Unsupported,
                "a draid needs the feature draid",
            ));
        }
        layout.refuse_in_use(self, OPERATION, name, options.overwrite)?;
        let request = self
            .request(ZFS_IOC_POOL_CREATE, created.name.as_c_str())
            .configuration(&layout.to_nvmap())
            .and_then(|request| match &options.encryption {
                Some(encryption) => input_with_key(request, props, encryption.wrapping_key()),
                None => request.input(&props),
            });
        request
            .and_then(|mut request| Ok(request.run()?))
            .map_err(|refusal| refusal.into_error(OPERATION, name))?;
        self.record(|| options.line(name));
        Ok(pool)
    }
}

impl Pool {
    /// Destroys it: its devices are marked as free. [`Zfs::find_pools`] still finds it, if told to
    /// ([`Search::destroyed`](super::Search::destroyed)), until they are used for something else.
    ///
    /// Nothing is unmounted.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `Busy` | a dataset of it is mounted or open |
    /// | `PoolSuspended` | as it says |
    /// | `InProgress` | it is being exported |
    ///
    /// # Privileges
    ///
    /// Root. `zpool-destroy(8)`, request `ZFS_IOC_POOL_DESTROY`.
    #[doc(alias = "ZFS_IOC_POOL_DESTROY")]
    #[doc(alias = "zpool_destroy")]
    pub fn destroy(&self) -> Result<()> {
        const OPERATION: Operation = Operation::DestroyPool;
        let name = self.name.as_str();
        let mut request = self.zfs.request(ZFS_IOC_POOL_DESTROY, self.name.as_c_str());
        // The pool has no history after the request.
        if let Some(line) = self.zfs.signed(|| format!("zpool destroy {name}")) {
            request = request.history_line(&line);
        }
        request
            .run()
            .map_err(|errno| Error::new(OPERATION, name, errno))
    }
}
