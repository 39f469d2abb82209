//! Whether a server's conditional PUTs can be trusted.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, PutResult, Result, UpdateVersion,
};

use crate::error::generic;

/// Writers that race, and how often each writes.
const WRITERS: u64 = 8;
const ROUNDS: u64 = 5;
/// How often a writer may lose.
const PATIENCE: u64 = 10_000;

/// Races conditional writes below `prefix`. Packing needs them: a server that checks a condition first and writes then,
/// in two steps, loses what somebody else wrote in between.
///
/// # Errors
/// Conditions that the server does not know, ignores, or does not check atomically; any other failure of a request.
pub async fn probe(store: &dyn ObjectStore, prefix: Option<&Path>) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(generic)?;
    let name = format!(".lmfs-probe-{}-{}", now.as_nanos(), std::process::id());
    let path = prefix.cloned().unwrap_or_default().join(name);
    let raced = race(store, &path).await;
    let removed = store.delete(&path).await;
    raced?;
    removed
}

async fn race(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    let nowhere = UpdateVersion {
        e_tag: Some("\"0123456789abcdef0123456789abcdef\"".into()),
        version: Some("1".into()),
    };
    let missing = update(store, path, "x", nowhere).await;
    refused(missing, "wrote an object that was not there although it had to be")?;
    let first = store.put_opts(path, "0".into(), PutMode::Create.into()).await?;
    match store.put_opts(path, "0".into(), PutMode::Create.into()).await {
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(unfit("created an object that was there")),
    }
    // Where ETags are digests of the content, the same content has the same.
    let second = update(store, path, "1", first.clone().into()).await?;
    refused(
        update(store, path, "0", first.into()).await,
        "replaced an object that had changed",
    )?;
    update(store, path, "0", second.into()).await?;
    try_join_all((0..WRITERS).map(|_| count(store, path))).await?;
    let (sum, _) = read(store, path).await?;
    match WRITERS * ROUNDS {
        all if sum == all => Ok(()),
        all => Err(unfit(&format!("lost {} of {all} writes in a race", all.abs_diff(sum)))),
    }
}

/// Counts the number in an object up.
async fn count(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    for _ in 0..ROUNDS {
        let mut lost = 0;
        loop {
            let (number, version) = read(store, path).await?;
            match update(store, path, &(number + 1).to_string(), version).await {
                Ok(_) => break,
                Err(Error::Precondition { .. }) if lost < PATIENCE => lost += 1,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

async fn read(store: &dyn ObjectStore, path: &Path) -> Result<(u64, UpdateVersion)> {
    let result = store.get_opts(path, GetOptions::default()).await?;
    let version = UpdateVersion {
        e_tag: result.meta.e_tag.clone(),
        version: result.meta.version.clone(),
    };
    let bytes = result.bytes().await?;
    let number = str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| unfit("returned something that was not written"))?;
    Ok((number, version))
}

async fn update(store: &dyn ObjectStore, path: &Path, text: &str, version: UpdateVersion) -> Result<PutResult> {
    let payload = PutPayload::from(text.to_owned().into_bytes());
    store.put_opts(path, payload, PutMode::Update(version).into()).await
}

fn refused<T>(result: Result<T>, what: &str) -> Result<()> {
    match result {
        Err(Error::Precondition { .. } | Error::NotFound { .. }) => Ok(()),
        Err(error @ (Error::NotImplemented { .. } | Error::NotSupported { .. })) => Err(generic(format!(
            "the store has no conditional PUT ({error}): it can be packed only while nobody else writes to it"
        ))),
        Err(error) => Err(error),
        Ok(_) => Err(unfit(what)),
    }
}

fn unfit(what: &str) -> Error {
    generic(format!(
        "the server's conditional PUTs cannot be trusted, and packing would lose what others write: it {what}"
    ))
}
