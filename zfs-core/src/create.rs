use crate::error::Result;
use crate::history::Line;
use crate::key::{Encryption, KEY_LEN};
use crate::nv::NvMap;
use crate::props::{PropertySet, Setting};

/// What to create: a filesystem or a volume, and how.
#[derive(Debug)]
pub struct CreateOptions {
    new: New,
    props: PropertySet,
    encryption: Option<Encryption>,
}

#[derive(Clone, Copy, Debug)]
enum New {
    Filesystem,
    Volume { size: u64 },
}

impl CreateOptions {
    /// A filesystem.
    #[must_use]
    pub fn filesystem() -> Self {
        Self::new(New::Filesystem)
    }

    /// A volume of `size` bytes, a multiple of its block size.
    ///
    /// It is sparse: space is only taken as it is written. Set
    /// [`RefReservation`](crate::props::RefReservation) to set space aside, as the `zfs` command
    /// does unless told otherwise.
    #[must_use]
    pub fn volume(size: u64) -> Self {
        Self::new(New::Volume { size })
    }

    fn new(new: New) -> Self {
        Self {
            new,
            props: PropertySet::new(),
            encryption: None,
        }
    }

    /// Sets a property.
    #[must_use]
    pub fn set(mut self, setting: impl Setting) -> Self {
        self.props = self.props.set(setting);
        self
    }

    /// Sets a user property, whose name has a colon.
    ///
    /// # Errors
    ///
    /// [`InvalidProperty`](crate::ErrorKind::InvalidProperty) for a name or a value that ZFS does
    /// not allow.
    pub fn user(mut self, name: &str, value: &str) -> Result<Self> {
        self.props = self.props.user(name, value)?;
        Ok(self)
    }

    /// Sets all of `props` as well.
    #[must_use]
    pub fn properties(mut self, props: &PropertySet) -> Self {
        self.props = self.props.merge(props);
        self
    }

    /// Makes it an encryption root with a key of its own. The key is loaded afterwards.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// `dmu_objset_type_t`.
    pub(crate) fn objset_type(&self) -> i32 {
        match self.new {
            New::Filesystem => 2,
            New::Volume { .. } => 3,
        }
    }

    pub(crate) fn to_nvmap(&self) -> Result<NvMap> {
        let mut props = self.props.to_nvmap();
        if let New::Volume { size } = self.new {
            props.insert(c"volsize", size);
        }
        if let Some(encryption) = &self.encryption {
            encryption.add_to(&mut props)?;
        }
        Ok(props)
    }

    /// Adds what the `zfs` command would be told.
    pub(crate) fn describe(&self, line: Line) -> Line {
        let line = match self.new {
            New::Filesystem => line,
            New::Volume { size } => line.arg("-s").arg("-V").arg(size),
        };
        let mut props = self.props.to_nvmap();
        if let Some(encryption) = &self.encryption {
            // It could be added before, and so it can be added here.
            let _added = encryption.add_to(&mut props);
        }
        line.properties(Some("-o"), &props)
    }

    pub(crate) fn encryption_key(&self) -> Option<&[u8; KEY_LEN]> {
        self.encryption.as_ref().map(Encryption::wrapping_key)
    }
}
