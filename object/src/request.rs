//! Requests to the inner store that stay with one version of an object.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, Error, Extensions, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, Result};

use crate::error::{Stopped, failed};

/// How often a request is repeated, one for blocks with its body. The inner store has its own way with single requests.
const RETRIES: usize = 2;

/// What comes with the bytes of an object.
#[derive(Clone)]
pub struct Response {
    /// With the size that is stored.
    pub meta: ObjectMeta,
    pub attributes: Attributes,
    pub extensions: Extensions,
}

impl From<GetResult> for Response {
    fn from(result: GetResult) -> Response {
        Response {
            meta: result.meta,
            attributes: result.attributes,
            extensions: result.extensions,
        }
    }
}

impl Response {
    pub fn of(result: &GetResult) -> Response {
        Response {
            meta: result.meta.clone(),
            attributes: result.attributes.clone(),
            extensions: result.extensions.clone(),
        }
    }
}

/// The version of an object that was opened.
#[derive(Clone, Debug)]
pub struct Pin {
    pub meta: ObjectMeta,
    /// Only if the caller asked for a version.
    pub version: Option<String>,
}

impl Pin {
    /// Options of a request for this version.
    pub fn options(&self) -> GetOptions {
        let options = GetOptions {
            version: self.version.clone(),
            ..GetOptions::default()
        };
        match &self.meta.e_tag {
            Some(e_tag) => options.with_if_match(Some(e_tag.clone())),
            None => options.with_if_unmodified_since(Some(self.meta.last_modified)),
        }
    }

    /// That an answer is of this version: some servers do not look at conditions.
    pub fn check(&self, found: &ObjectMeta) -> Result<(), Stopped> {
        let same = match (&self.meta.e_tag, &found.e_tag) {
            (Some(one), Some(other)) => one == other,
            _ => self.meta.last_modified == found.last_modified,
        };
        if same && self.meta.size == found.size {
            return Ok(());
        }
        Err(Stopped::Replaced)
    }
}

/// Whether the caller asks for more than the object as it is now.
pub fn is_conditional(options: &GetOptions) -> bool {
    let GetOptions {
        if_match,
        if_none_match,
        if_modified_since,
        if_unmodified_since,
        version,
        ..
    } = options;
    let tags = if_match.is_some() || if_none_match.is_some() || version.is_some();
    tags || if_modified_since.is_some() || if_unmodified_since.is_some()
}

/// Whether the same request may have another answer.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Generic { .. })
}

fn replaced(error: Error) -> Stopped {
    match error {
        Error::Precondition { .. } => Stopped::Replaced,
        other => Stopped::Failed(other),
    }
}

/// A HEAD for the version that was opened.
pub async fn head(inner: &dyn ObjectStore, pin: &Pin) -> Result<Response, Stopped> {
    let mut tries = 0;
    loop {
        let options = pin.options().with_head(true);
        match inner.get_opts(&pin.meta.location, options).await {
            Ok(result) => {
                pin.check(&result.meta)?;
                return Ok(result.into());
            }
            Err(error) if tries < RETRIES && may_pass(&error) => tries += 1,
            Err(error) => return Err(replaced(error)),
        }
    }
}

/// The whole answer to a request for a range of what is stored.
pub async fn plain(inner: &dyn ObjectStore, pin: &Pin, range: GetRange) -> Result<GetResult, Stopped> {
    let options = pin.options().with_range(Some(range));
    let result = inner.get_opts(&pin.meta.location, options).await.map_err(replaced)?;
    pin.check(&result.meta)?;
    Ok(result)
}

/// Bytes of what is stored. They come whole or not at all.
pub async fn bytes(inner: &dyn ObjectStore, pin: &Pin, range: Range<u64>) -> Result<(Bytes, Response), Stopped> {
    let mut tries = 0;
    loop {
        match bytes_once(inner, pin, range.clone()).await {
            Err(Stopped::Failed(error)) if tries < RETRIES && may_pass(&error) => {
                tracing::debug!("asking again for {range:?} of {}: {error}", pin.meta.location);
                tries += 1;
            }
            other => return other,
        }
    }
}

async fn bytes_once(inner: &dyn ObjectStore, pin: &Pin, range: Range<u64>) -> Result<(Bytes, Response), Stopped> {
    let result = plain(inner, pin, GetRange::Bounded(range.clone())).await?;
    let response = Response::of(&result);
    let bytes = result.bytes().await?;
    if bytes.len() as u64 != range.end - range.start {
        let reason = format!("{} bytes came for the range {range:?}", bytes.len());
        return Err(failed(&pin.meta.location, reason).into());
    }
    Ok((bytes, response))
}

/// The end of an object, and what it is as a whole. The conditions are the caller's.
pub async fn tail(
    inner: &dyn ObjectStore,
    location: &Path,
    conditions: &GetOptions,
    len: u64,
) -> Result<Tail, Stopped> {
    let asked = GetOptions {
        range: Some(GetRange::Suffix(len)),
        head: false,
        ..conditions.clone()
    };
    let pin = |meta: &ObjectMeta| Pin {
        meta: meta.clone(),
        version: conditions.version.clone(),
    };
    let error = match inner.get_opts(location, asked).await {
        Ok(result) => {
            let (response, start) = (Response::of(&result), result.range.start);
            let whole = result.range.end == result.meta.size && start == result.meta.size.saturating_sub(len);
            match result.bytes().await {
                Ok(bytes) if whole && bytes.len() as u64 == response.meta.size - start => {
                    return Ok(Tail {
                        pin: pin(&response.meta),
                        response,
                        start,
                        bytes,
                    });
                }
                Ok(_) => failed(location, "another range came than was asked for"),
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    // Azure has no suffixes, S3 none of empty objects, and some servers none that are longer than the object.
    if !may_pass(&error) && !matches!(error, Error::NotSupported { .. } | Error::NotImplemented { .. }) {
        return Err(error.into());
    }
    let asked = GetOptions {
        range: None,
        head: true,
        ..conditions.clone()
    };
    let response = Response::from(inner.get_opts(location, asked).await?);
    let (pin, size) = (pin(&response.meta), response.meta.size);
    let start = size.saturating_sub(len);
    let bytes = match size {
        0 => Bytes::new(),
        _ => bytes(inner, &pin, start..size).await?.0,
    };
    Ok(Tail {
        pin,
        response,
        start,
        bytes,
    })
}

/// The end of an object.
pub struct Tail {
    pub pin: Pin,
    pub response: Response,
    /// Where it starts.
    pub start: u64,
    pub bytes: Bytes,
}
