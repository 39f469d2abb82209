//! Objects of a store that `lmfs push` keeps. They are no files of their own, and packing them would destroy the store.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, Result};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::bucket::{HEAD, HEAD_START, is_head, is_part};

/// The prefixes that were looked at. Only objects with names as a store has cost a request, one for each prefix.
#[derive(Default)]
pub(super) struct Pushed {
    known: Mutex<HashMap<Path, Arc<OnceCell<bool>>>>,
}

impl Pushed {
    /// Whether an object belongs to a store.
    ///
    /// # Errors
    /// What lies where HEAD would be cannot be read.
    pub async fn has(&self, store: &dyn ObjectStore, location: &Path) -> Result<bool> {
        let Some(prefix) = prefix_of(location) else {
            return Ok(false);
        };
        let known = self.known.lock().entry(prefix.clone()).or_default().clone();
        let found = known.get_or_try_init(|| has_head(store, &prefix)).await;
        found.copied()
    }
}

/// The prefix of the store that would have an object of this name.
fn prefix_of(location: &Path) -> Option<Path> {
    let parts: Vec<_> = location.parts().collect();
    // A store has files, and folders of files.
    [1, 2].into_iter().find_map(|len| {
        let (prefix, rest) = parts.split_at_checked(parts.len().checked_sub(len)?)?;
        let object: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
        is_part(&object.join("/")).then(|| prefix.iter().cloned().collect())
    })
}

async fn has_head(store: &dyn ObjectStore, prefix: &Path) -> Result<bool> {
    let head = prefix.clone().join(HEAD);
    match store.get_range(&head, 0..HEAD_START).await {
        Ok(start) => Ok(is_head(&start)),
        Err(Error::NotFound { .. }) => Ok(false),
        // An empty object has no ranges, and servers have different answers to who asks for one.
        Err(error) => match store.head(&head).await {
            Ok(meta) if meta.size == 0 => Ok(false),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    const SEGMENT: &str = "segments/00000001.seg.00000002-0123456789abcdef-3";

    #[test]
    fn the_names_of_a_store_lead_to_its_prefix() {
        let prefix = |name: &str| prefix_of(&Path::from(name)).map(|path| path.to_string());
        for object in ["HEAD", "config.toml.00000001-0123456789abcdef-0", SEGMENT] {
            assert_eq!(prefix(object).as_deref(), Some(""));
            assert_eq!(prefix(&format!("a/b/{object}")).as_deref(), Some("a/b"));
        }
        for other in [
            "",
            "logs/a.json",
            "segments/readme.md",
            "HEAD/a",
            "segments/00000001.seg",
        ] {
            assert_eq!(prefix(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn only_a_prefix_with_a_head_has_a_store() {
        let store = InMemory::new();
        let pushed = Pushed::default();
        for (object, content) in [
            ("store/HEAD", "lmfs-head 1 00000000\n{}"),
            ("repository/HEAD", "ref: refs/heads/main"),
            ("short/HEAD", "x"),
            ("empty/HEAD", ""),
        ] {
            store.put(&Path::from(object), content.into()).await.unwrap();
        }
        let cases = [
            ("store", true),
            ("repository", false),
            ("short", false),
            ("empty", false),
            ("none", false),
        ];
        for (prefix, is_store) in cases {
            for object in ["HEAD", SEGMENT] {
                let location = Path::from(format!("{prefix}/{object}"));
                assert_eq!(pushed.has(&store, &location).await.unwrap(), is_store, "{location}");
            }
        }
        assert!(!pushed.has(&store, &Path::from("store/data.json")).await.unwrap());
    }
}
