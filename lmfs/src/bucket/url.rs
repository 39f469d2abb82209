//! Buckets by their URLs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use lmfs_object::bucket::Bucket;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreScheme, parse_url_opts};
use url::Url;

/// A request for a piece of a store may take so long: 32 MiB at 1 Mbit/s.
const PATIENCE: &str = "300 seconds";
/// A request of a mount, whose reader waits: 4 MiB at about 1 Mbit/s.
const READER: &str = "30 seconds";

/// Where a URL leads.
enum Place {
    /// To a folder of this machine.
    Folder(PathBuf),
    /// To a cloud, and there to a prefix.
    Cloud(Url),
}

/// The store and the path in it that a URL names.
///
/// # Errors
/// No URL of a bucket, or one that cannot be opened.
pub fn objects(text: &str) -> anyhow::Result<(Arc<dyn ObjectStore>, Option<Key>)> {
    match place(text)? {
        Place::Folder(path) => {
            let store = LocalFileSystem::new_with_prefix(&path);
            let store = store.with_context(|| format!("cannot open the folder {}", path.display()))?;
            Ok((Arc::new(store), None))
        }
        Place::Cloud(url) => {
            let (store, prefix) = cloud(&url, settings(std::env::vars_os()))?;
            Ok((store, (!prefix.as_ref().is_empty()).then_some(prefix)))
        }
    }
}

/// The bucket, or the folder that stands for one, that holds a store. A folder is made if `make` is set.
///
/// # Errors
/// As for [`objects`].
pub fn bucket(text: &str, make: bool) -> anyhow::Result<Bucket> {
    open(text, make, PATIENCE)
}

/// The same for a mount, which fetches ranges of pieces.
///
/// # Errors
/// As for [`objects`].
pub fn bucket_of_mount(text: &str) -> anyhow::Result<Bucket> {
    open(text, false, READER)
}

fn open(text: &str, make: bool, patience: &str) -> anyhow::Result<Bucket> {
    match place(text)? {
        Place::Folder(path) => Ok(Bucket::in_folder(&path, make)?),
        Place::Cloud(url) => {
            let patience = std::iter::once(("timeout".to_owned(), patience.to_owned()));
            let (store, prefix) = cloud(&url, patience.chain(settings(std::env::vars_os())))?;
            Ok(Bucket::new(store, prefix).named(text))
        }
    }
}

fn place(text: &str) -> anyhow::Result<Place> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(_) => return Ok(Place::Folder(Path::new(text).to_owned())),
    };
    if url.scheme() == "file" {
        let Ok(path) = url.to_file_path() else {
            bail!("{url} names no folder of this machine: file:///FOLDER does");
        };
        return Ok(Place::Folder(path));
    }
    if url.password().is_some() {
        bail!(
            "the URL has a password, which lists of processes and logs would show: give keys in environment variables"
        );
    }
    if ObjectStoreScheme::parse(&url).is_ok() && cfg!(not(feature = "cloud")) {
        bail!(
            "this program was built without clouds: `cargo build --release -p lmfs --features cloud` builds it with them"
        );
    }
    Ok(Place::Cloud(url))
}

fn cloud(url: &Url, settings: impl Iterator<Item = (String, String)>) -> anyhow::Result<(Arc<dyn ObjectStore>, Key)> {
    let (store, prefix) = parse_url_opts(url, settings).with_context(|| format!("cannot open {url}"))?;
    Ok((Arc::from(store), prefix))
}

/// What the environment says about clouds. `object_store` takes more names, such as TOKEN, which anything
/// may have set.
fn settings(environment: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (String, String)> {
    let text = environment.filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    text.map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| {
            ["aws_", "azure_", "google_"]
                .iter()
                .any(|cloud| name.starts_with(cloud))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: errors and logs showed the URL with its password.
    #[test]
    fn a_url_with_a_password_is_refused_and_not_shown() {
        let refused = bucket("s3://key:secret@bucket/store", false);
        let error = refused.map_or_else(|error| format!("{error:?}"), |_| String::new());
        assert!(
            error.contains("environment variables") && !error.contains("secret"),
            "{error}"
        );
    }

    /// Regression: TOKEN and ENDPOINT of anything else went to the cloud, and a name that is no text was a panic.
    #[test]
    fn only_variables_of_clouds_are_used() {
        use std::os::unix::ffi::OsStringExt;
        let wrong = OsString::from_vec(vec![b'A', 0xff]);
        let environment = [
            ("AWS_ENDPOINT".into(), "http://here".into()),
            ("Google_Bucket".into(), "b".into()),
            ("TOKEN".into(), "secret".into()),
            ("ENDPOINT".into(), "http://there".into()),
            (wrong.clone(), "x".into()),
            ("AWS_REGION".into(), wrong),
        ];
        let found: Vec<_> = settings(environment.into_iter()).collect();
        let expected = [("aws_endpoint", "http://here"), ("google_bucket", "b")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
