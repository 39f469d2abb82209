//! Whether a server's conditional PUTs can be trusted.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, PutResult, Result, UpdateVersion,
};

use crate::error::generic;

/// Writers that race for one version of an object, and how many races there are.
const WRITERS: usize = 16;
const RACES: usize = 20;

/// Races conditional writes below `prefix`. Packing needs them: a server that checks a condition first and writes then,
/// in two steps, loses what somebody else wrote in between.
///
/// # Errors
/// [`Error::NotSupported`] if the server does not know conditions. Conditions that it ignores or does not check
/// atomically; any other failure of a request.
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
    let missing = update(store, path, 0, nowhere).await;
    refused(missing, "wrote an object that was not there although it had to be")?;
    let created = join_all((0..WRITERS).map(|writer| put(store, path, writer, PutMode::Create))).await;
    let (mut writer, mut version) =
        winner(created, "create an object")?.ok_or_else(|| unfit("let nobody create an object"))?;
    let first = version.clone();
    for race in 1..=RACES {
        let (found, now) = read(store, path).await?;
        if found != writer || now.e_tag != version.e_tag {
            return Err(unfit("has something else than what it said was written"));
        }
        // All at once, for the same version.
        let updates = (0..WRITERS).map(|writer| update(store, path, race * WRITERS + writer, version.clone()));
        match winner(join_all(updates).await, "replace one version of an object")? {
            Some((won, next)) => (writer, version) = (race * WRITERS + won, next),
            // None did, if each was in the way of another.
            None => (writer, version) = read(store, path).await?,
        }
    }
    refused(
        update(store, path, 0, first).await,
        "replaced an object that had changed",
    )
}

/// Which of several writers has won, and the version that it wrote; `None` if none has.
fn winner(results: Vec<Result<PutResult>>, what: &str) -> Result<Option<(usize, UpdateVersion)>> {
    let mut won = None;
    for (writer, result) in results.into_iter().enumerate() {
        match result {
            Ok(_) if won.is_some() => return Err(unfit(&format!("let several writers {what} in a race"))),
            Ok(put) => won = Some((writer, put.into())),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(won)
}

async fn read(store: &dyn ObjectStore, path: &Path) -> Result<(usize, UpdateVersion)> {
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

async fn update(store: &dyn ObjectStore, path: &Path, number: usize, version: UpdateVersion) -> Result<PutResult> {
    put(store, path, number, PutMode::Update(version)).await
}

async fn put(store: &dyn ObjectStore, path: &Path, number: usize, mode: PutMode) -> Result<PutResult> {
    let payload = PutPayload::from(number.to_string().into_bytes());
    store.put_opts(path, payload, mode.into()).await
}

fn refused<T>(result: Result<T>, what: &str) -> Result<()> {
    match result {
        Err(Error::Precondition { .. } | Error::NotFound { .. }) => Ok(()),
        Err(error @ (Error::NotImplemented { .. } | Error::NotSupported { .. })) => {
            let reason = format!(
                "the store has no conditional PUT ({error}): it can be packed only while nobody else writes to it"
            );
            Err(Error::NotSupported { source: reason.into() })
        }
        Err(error) => Err(error),
        Ok(_) => Err(unfit(what)),
    }
}

fn unfit(what: &str) -> Error {
    generic(format!(
        "the server's conditional PUTs cannot be trusted, and packing would lose what others write: it {what}"
    ))
}
