//! Mount options as `-o` and fstab have them.

use std::path::PathBuf;
use std::str::FromStr;

use crate::byte_size::{self, SizeError};
use crate::store::{Prefer, UnknownPreference};

/// When files are compressed with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PackMode {
    /// Some time after their last write
    Idle,
    /// Only by `lmfs pack`
    Off,
}

/// Why a mount option is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// There is no such option.
    #[error("unknown mount option '{0}'; `lmfs mount --help` lists what there is")]
    Unknown(String),
    /// Its value is no size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// Its value is no number of seconds.
    #[error("mount option '{option}': '{value}' is not a number of seconds")]
    Seconds {
        /// The option as it was given.
        option: String,
        /// The part behind the equals sign.
        value: String,
    },
    /// Its value names no [`PackMode`].
    #[error("'{0}' is not a way to pack: idle and off are")]
    PackMode(String),
    /// Its value names no [`Prefer`].
    #[error(transparent)]
    Prefer(#[from] UnknownPreference),
}

/// What a store is mounted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Nothing in the store changes.
    pub read_only: bool,
    /// Other users may look in; the kernel checks permissions for them.
    pub allow_other: bool,
    /// root may look in, too.
    pub allow_root: bool,
    /// Mount over a directory that holds something, or over another mount.
    pub nonempty: bool,
    /// Options that the kernel carries out itself, as they were given: `noatime`, `nodev`, `nosuid`, `noexec`, `sync`,
    /// `dirsync`, and `suid` and `dev`, which are not what happens anyway in a store of somebody else.
    pub kernel: Vec<String>,
    /// Memory for decoded blocks, in bytes.
    pub cache_size: u64,
    /// When to pack.
    pub pack: PackMode,
    /// Seconds after a file's last write.
    pub pack_idle: u64,
    /// What new blocks are to be, if not what the store says.
    pub prefer: Option<Prefer>,
    /// The folder for what is fetched of a store in a bucket.
    pub cache_dir: Option<PathBuf>,
    /// The most bytes of segments in it.
    pub cache_dir_size: u64,
    /// Seconds after which a bucket is looked at again.
    pub poll: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            read_only: false,
            allow_other: false,
            allow_root: false,
            nonempty: false,
            kernel: Vec::new(),
            cache_size: 256 << 20,
            pack: PackMode::Idle,
            pack_idle: 30,
            prefer: None,
            cache_dir: None,
            cache_dir_size: 4 << 30,
            poll: 10,
        }
    }
}

/// Pairs of kernel options; of each the last one given counts. The first of a pair is what happens anyway.
const KERNEL: [(&str, &str); 6] = [
    ("atime", "noatime"),
    ("dev", "nodev"),
    ("suid", "nosuid"),
    ("exec", "noexec"),
    ("async", "sync"),
    ("", "dirsync"),
];

/// Of these pairs the second one is what happens in a store that is not trusted.
const UNTRUSTED: [(&str, &str); 2] = [("suid", "nosuid"), ("dev", "nodev")];

/// What mount(8), systemd and fstab mean for themselves, and what lmfs does in any case.
const SKIPPED: [&str; 38] = [
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "_netdev",
    "nofail",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "diratime",
    "nodiratime",
    "default_permissions",
    "silent",
    "loud",
    "_rnetdev",
    // Fitting to other filesystems, and so left in lines of fstab; here it is so anyway, or means nothing.
    "acl",
    "noacl",
    "user_xattr",
    "nouser_xattr",
    "discard",
    "nodiscard",
    "barrier",
    "nobarrier",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    // Of libfuse.
    "big_writes",
    "use_ino",
    "async_read",
    "auto_cache",
];

impl Options {
    /// Adds one option as it stands between commas.
    ///
    /// # Errors
    /// An option that is unknown or has a bad value, in words for the user: guessing would mount something other
    /// than what was asked for.
    pub fn apply(&mut self, option: &str) -> Result<(), OptionError> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let skipped = SKIPPED.contains(&option)
            || name.starts_with("x-")
            || name.starts_with("X-")
            || name == "comment"
            || option.is_empty();
        if skipped || self.apply_kernel(option) {
            return Ok(());
        }
        match (name, value) {
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            ("allow_other", None) => self.allow_other = true,
            ("allow_root", None) => self.allow_root = true,
            ("nonempty", None) => self.nonempty = true,
            ("cache_size" | "cache-size", Some(value)) => self.cache_size = byte_size::parse(value)?,
            ("pack", Some(value)) => self.pack = value.parse()?,
            ("prefer", Some(value)) => self.prefer = Some(value.parse()?),
            ("pack_idle" | "pack-idle", Some(value)) => self.pack_idle = seconds(option, value)?,
            ("cache_dir" | "cache-dir", Some(value)) => self.cache_dir = Some(PathBuf::from(value)),
            ("cache_dir_size" | "cache-dir-size", Some(value)) => self.cache_dir_size = byte_size::parse(value)?,
            ("poll", Some(value)) => self.poll = seconds(option, value)?.max(1),
            _ => {
                return Err(OptionError::Unknown(option.to_owned()));
            }
        }
        Ok(())
    }

    fn apply_kernel(&mut self, option: &str) -> bool {
        let Some((usual, special)) = KERNEL.iter().find(|(a, b)| *a == option || *b == option) else {
            return false;
        };
        self.kernel.retain(|given| given != special && given != usual);
        if option != *usual || UNTRUSTED.iter().any(|(asked, _)| *asked == option) {
            self.kernel.push(option.to_owned());
        }
        true
    }

    /// What the kernel is to carry out. Who owns the store decides what is in it, so in one that root has from somebody
    /// else set-user-id programs and devices mean nothing, unless they were asked for.
    #[must_use]
    pub fn kernel(&self, trusted: bool) -> Vec<String> {
        let mut list = self.kernel.clone();
        for (asked, special) in UNTRUSTED {
            let given = list.iter().any(|given| given == asked || given == special);
            if !trusted && !given {
                list.push(special.to_owned());
            }
        }
        list.retain(|option| !UNTRUSTED.iter().any(|(asked, _)| asked == option));
        list
    }

    /// Options that give these again, for [`Options::apply`].
    #[must_use]
    pub fn to_list(&self) -> Vec<String> {
        let flag = |on: bool, name: &str| on.then(|| name.to_owned());
        let mut list: Vec<String> = [
            flag(self.read_only, "ro"),
            flag(self.allow_other, "allow_other"),
            flag(self.allow_root, "allow_root"),
            flag(self.nonempty, "nonempty"),
        ]
        .into_iter()
        .flatten()
        .collect();
        list.extend(self.kernel.iter().cloned());
        list.push(format!("cache_size={}", self.cache_size));
        list.push(format!("pack={}", self.pack));
        list.push(format!("pack_idle={}", self.pack_idle));
        list.extend(self.prefer.map(|prefer| format!("prefer={prefer}")));
        list.push(format!("cache_dir_size={}", self.cache_dir_size));
        list.push(format!("poll={}", self.poll));
        list
    }
}

fn seconds(option: &str, value: &str) -> Result<u64, OptionError> {
    value.parse().map_err(|_| OptionError::Seconds {
        option: option.to_owned(),
        value: value.to_owned(),
    })
}

impl FromStr for PackMode {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<PackMode, OptionError> {
        match text {
            "idle" => Ok(PackMode::Idle),
            "off" => Ok(PackMode::Off),
            _ => Err(OptionError::PackMode(text.to_owned())),
        }
    }
}

impl std::fmt::Display for PackMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PackMode::Idle => "idle",
            PackMode::Off => "off",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(text: &str) -> Result<Options, OptionError> {
        let mut options = Options::default();
        text.split(',').try_for_each(|option| options.apply(option))?;
        Ok(options)
    }

    #[test]
    fn fstab_lines_are_understood() {
        let options =
            parsed("defaults,_netdev,nofail,x-systemd.automount,ro,allow_other,noatime,cache_size=1GiB").unwrap();
        assert_eq!(parsed("acl,user_xattr,discard,big_writes").unwrap(), Options::default());
        assert!(options.read_only && options.allow_other && !options.allow_root);
        assert_eq!(options.kernel, ["noatime"]);
        assert_eq!(options.cache_size, 1 << 30);
        assert_eq!(options.pack, PackMode::Idle);
    }

    #[test]
    fn the_last_of_a_pair_counts() {
        assert!(!parsed("ro,rw").unwrap().read_only);
        let kernel = |text| parsed(text).unwrap().kernel(true);
        assert_eq!(kernel("nodev,dev,nosuid,suid,nosuid"), ["nosuid"]);
        assert!(parsed("sync,async").unwrap().kernel.is_empty());
        assert!(parsed("dirsync,").unwrap().kernel.contains(&"dirsync".to_owned()));
    }

    /// Regression: who owned a store that root mounted had set-user-id programs of root's in it.
    #[test]
    fn a_store_of_somebody_else_has_no_devices_and_no_set_user_id() {
        let kernel = |text| parsed(text).unwrap().kernel(false);
        assert_eq!(kernel(""), ["nosuid", "nodev"]);
        assert_eq!(kernel("dev"), ["nosuid"]);
        assert_eq!(kernel("suid,noatime,dev"), ["noatime"]);
        assert_eq!(kernel("suid,nosuid,dev"), ["nosuid"]);
        assert!(parsed("").unwrap().kernel(true).is_empty());
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for bad in [
            "allow_othr",
            "pack=always",
            "cache_size=big",
            "pack_idle=-1",
            "prefer=haste",
            "ro=1",
            "subtype=x",
        ] {
            let error = parsed(&format!("ro,{bad}")).unwrap_err().to_string();
            let value = bad.rsplit('=').next().unwrap();
            assert!(error.contains(value), "{bad}: {error}");
        }
    }

    #[test]
    fn a_list_gives_the_same_options_again() {
        for text in [
            "",
            "ro,nodev,noexec,pack=off",
            "suid,dev",
            "allow_root,nonempty,cache_size=7,pack_idle=0",
            "prefer=speed",
        ] {
            let options = parsed(text).unwrap();
            assert_eq!(parsed(&options.to_list().join(",")).unwrap(), options);
        }
    }
}
