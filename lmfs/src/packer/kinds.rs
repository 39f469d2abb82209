//! Kinds of files: what is called alike is mostly alike.

use std::collections::{HashMap, HashSet};

use lmfs_codec::dictionary::builtin;
use lmfs_indexer::{Kind, Store};

use super::error::Error;

/// Rows looked up at a time.
const PAGE: usize = 1024;

/// The kinds of these files, of those that have a name that says it.
pub(super) fn by_name(store: &Store, files: &HashSet<u64>) -> Result<HashMap<u64, String>, Error> {
    let mut kinds = HashMap::new();
    let mut after = 0;
    loop {
        let inodes = store.inodes(after, PAGE)?;
        let Some(last) = inodes.last() else {
            return Ok(kinds);
        };
        after = last.ino;
        for folder in inodes.iter().filter(|inode| inode.kind == Kind::Directory) {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let entries = store.dirents(folder.ino, after.as_deref(), PAGE)?;
                let Some((last, _)) = entries.last() else { break };
                after = Some(last.clone());
                for (name, entry) in entries.iter().filter(|(_, entry)| files.contains(&entry.ino)) {
                    if let Some(kind) = extension(name) {
                        kinds.insert(entry.ino, kind);
                    }
                }
            }
        }
    }
}

/// The kind of a file whose name says nothing, by its beginning.
pub(super) fn by_contents(raw: &[u8]) -> String {
    builtin::kind(raw).map_or_else(|| "data".to_owned(), |name| format!("like {name}"))
}

/// The extension of a name in lower case; numbers at the end, as of old logs, are passed over.
fn extension(name: &[u8]) -> Option<String> {
    const LONGEST: usize = 10;
    let name = std::str::from_utf8(name).ok()?;
    let mut parts = name.rsplit('.').collect::<Vec<_>>();
    // What is before the first dot is the name.
    parts.pop()?;
    let found = parts
        .into_iter()
        .find(|part| !part.is_empty() && !part.bytes().all(|byte| byte.is_ascii_digit()))?;
    let fits = found.len() <= LONGEST && found.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| found.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_say_the_kind() {
        for (name, kind) in [
            ("a.py", Some("py")),
            ("A.CSV", Some("csv")),
            ("app.log.1", Some("log")),
            ("archive.tar.gz", Some("gz")),
            (".bashrc", Some("bashrc")),
            ("README", None),
            ("syslog.1", None),
            ("a.", None),
            ("mail.from somebody", None),
            ("", None),
        ] {
            assert_eq!(extension(name.as_bytes()).as_deref(), kind, "{name}");
        }
        assert_eq!(extension(b"\xff.py"), None);
    }
}
