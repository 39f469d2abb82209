//! A mount described in a file: `/etc/lmfs/NAME.toml` for `lmfs@NAME.service`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::store::is_url;

/// What to mount where, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountConfig {
    /// The store folder.
    pub store: PathBuf,
    /// Where to mount it.
    pub mountpoint: PathBuf,
    /// Options as for `-o`.
    pub options: Vec<String>,
    /// Where `lmfs push` puts the store.
    pub push: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    store: PathBuf,
    mountpoint: Option<PathBuf>,
    #[serde(default)]
    options: Vec<String>,
    push: Option<String>,
}

impl MountConfig {
    /// Reads a file. Without a `mountpoint` in it, its own name is the mountpoint as systemd escapes paths:
    /// `srv-archive.toml` is mounted on `/srv/archive`.
    ///
    /// # Errors
    /// What is wrong with the file, and where.
    pub fn read(path: &Path) -> anyhow::Result<MountConfig> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        parse(&text, path).with_context(|| format!("{}", path.display()))
    }
}

fn parse(text: &str, path: &Path) -> anyhow::Result<MountConfig> {
    let text: Text = toml::from_str(text)?;
    let mountpoint = text.mountpoint.unwrap_or_else(|| {
        let name = path.file_stem().unwrap_or_default();
        PathBuf::from(OsString::from_vec(unescape(name.as_bytes())))
    });
    for (what, path) in [("store", &text.store), ("mountpoint", &mountpoint)] {
        if !path.is_absolute() && !is_url(path) {
            bail!("{what} has to be an absolute path, '{}' is not", path.display());
        }
    }
    Ok(MountConfig {
        store: text.store,
        mountpoint,
        options: text.options,
        push: text.push,
    })
}

/// Undoes `systemd-escape --path` (systemd.unit(5)): `-` is a slash, `\x2d` the byte 0x2d.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = vec![b'/'];
    let mut rest = if name == b"-" { &[] } else { name };
    while let Some((&first, tail)) = rest.split_first() {
        let hex = match tail.split_at_checked(3) {
            Some(([b'x', digits @ ..], after)) if first == b'\\' => {
                let digits = std::str::from_utf8(digits).ok();
                digits
                    .and_then(|d| u8::from_str_radix(d, 16).ok())
                    .map(|byte| (byte, after))
            }
            _ => None,
        };
        let (byte, after) = hex.unwrap_or((if first == b'-' { b'/' } else { first }, tail));
        out.push(byte);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mountpoint_is_given_or_is_the_name() {
        let given = parse(
            "store='/s'\nmountpoint='/m'\noptions=['ro']\npush='s3://b/p'",
            Path::new("/etc/lmfs/x.toml"),
        )
        .unwrap();
        assert_eq!(given.push.as_deref(), Some("s3://b/p"));
        assert_eq!(given.mountpoint, Path::new("/m"));
        assert_eq!(given.options, ["ro"]);
        let named = |name: &str| parse("store='/s'", Path::new(name)).unwrap().mountpoint;
        assert_eq!(named("srv-archive.toml"), Path::new("/srv/archive"));
        assert_eq!(named("srv-my\\x2dlogs.toml"), Path::new("/srv/my-logs"));
        assert_eq!(named("a\\xzz.toml"), Path::new("/a\\xzz"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("mountpoint='/m'", "store"),
            ("store='s'\nmountpoint='/m'", "absolute"),
            ("store='/s'\nmount='/m'", "mount"),
            ("store=", "line 1"),
        ] {
            let error = parse(text, Path::new("/etc/lmfs/x.toml")).unwrap_err();
            assert!(format!("{error:#}").contains(word), "{error:#}");
        }
    }
}
