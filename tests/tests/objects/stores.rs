//! Stores that count or fail, and what the tests put into them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lmfs_object::{LmfsOptions, LmfsStore};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A request to the inner store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Get {
        range: Option<GetRange>,
        head: bool,
        if_match: bool,
    },
    Put,
    Part,
    Complete,
    List,
}

/// When a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Before it had an effect.
    Before,
    /// After it had, so that only the answer is lost.
    After,
    /// In the middle of the body.
    Body,
}

/// Another store, with a record of its requests. One of them may fail.
#[derive(Debug)]
pub struct Watched {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    bytes: u64,
    /// The request of this number, from 0 on.
    fault: Option<(usize, Fault)>,
    /// The answers of deletes are lost.
    deletes_are_lost: bool,
    /// What the next GET says when it has its answer, and what it then waits for.
    held: Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

impl Watched {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Arc<Watched> {
        Arc::new(Watched {
            inner,
            state: Arc::default(),
        })
    }

    /// What was asked for since this was called last, and how many bytes came.
    pub fn take(&self) -> (Vec<Request>, u64) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.requests), std::mem::take(&mut state.bytes))
    }

    /// Lets a request fail, counted from now on.
    pub fn fail(&self, number: usize, fault: Fault) {
        let mut state = self.state.lock();
        state.requests.clear();
        state.fault = Some((number, fault));
    }

    /// From now on deletes happen, and their answers are lost.
    pub fn lose_deletes(&self) {
        self.state.lock().deletes_are_lost = true;
    }

    /// Holds the answer to the next GET back: the first says that it is there, the second lets it go.
    pub fn hold(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (there, is_there) = oneshot::channel();
        let (go, goes) = oneshot::channel();
        self.state.lock().held = Some((there, goes));
        (is_there, go)
    }

    fn note(&self, request: Request) -> Result<Option<Fault>> {
        note(&self.state, request)
    }
}

fn note(state: &Mutex<State>, request: Request) -> Result<Option<Fault>> {
    let mut state = state.lock();
    let number = state.requests.len();
    state.requests.push(request);
    match state.fault {
        Some((at, fault)) if at == number => {
            state.fault = None;
            match fault {
                Fault::Before => Err(broken()),
                fault => Ok(Some(fault)),
            }
        }
        _ => Ok(None),
    }
}

fn broken() -> Error {
    Error::Generic {
        store: "Watched",
        source: "the connection broke, for the test".into(),
    }
}

/// The result, unless its answer is lost.
fn answer<T>(result: Result<T>, fault: Option<Fault>) -> Result<T> {
    match fault {
        Some(Fault::After) => Err(broken()),
        _ => result,
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let fault = self.note(Request::Put)?;
        answer(self.inner.put_opts(location, payload, opts).await, fault)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        let state = Arc::clone(&self.state);
        Ok(Box::new(WatchedUpload { inner, state }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.note(Request::Get {
            range: options.range.clone(),
            head: options.head,
            if_match: options.if_match.is_some(),
        })?;
        let head = options.head;
        let mut result = answer(self.inner.get_opts(location, options).await, fault)?;
        let held = self.state.lock().held.take();
        if let Some((there, goes)) = held {
            there.send(()).expect("nobody waits for the answer");
            goes.await.expect("nobody lets the answer go");
        }
        if head {
            return Ok(result);
        }
        self.state.lock().bytes += result.range.end - result.range.start;
        if fault == Some(Fault::Body) {
            let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
            let bytes = result.bytes().await?;
            let half = bytes.slice(..bytes.len() / 2);
            let stream = futures_util::stream::iter([Ok(half), Err(broken())]);
            result = GetResult {
                payload: GetResultPayload::Stream(stream.boxed()),
                meta,
                range,
                attributes,
                extensions: Default::default(),
            };
        }
        Ok(result)
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> Result<Vec<Bytes>> {
        panic!("has no conditions, so nothing tells which version comes")
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let deleted = self.inner.delete_stream(locations);
        match self.state.lock().deletes_are_lost {
            true => deleted.map(|_| Err(broken())).boxed(),
            false => deleted,
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.note(Request::List) {
            Ok(None) => self.inner.list(prefix),
            _ => futures_util::stream::iter([Err(broken())]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.note(Request::List)?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct WatchedUpload {
    inner: Box<dyn MultipartUpload>,
    state: Arc<Mutex<State>>,
}

#[async_trait]
impl MultipartUpload for WatchedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match note(&self.state, Request::Part) {
            Ok(fault) => {
                let part = self.inner.put_part(data);
                Box::pin(async move { answer(part.await, fault) })
            }
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fault = note(&self.state, Request::Complete)?;
        answer(self.inner.complete().await, fault)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// Options with two threads.
pub fn options() -> LmfsOptions {
    let mut options = LmfsOptions::default();
    options.threads = 2;
    options
}

pub fn lmfs(inner: Arc<dyn ObjectStore>) -> LmfsStore {
    LmfsStore::new(inner, options()).unwrap()
}

/// Lines that compress well, each of them another one.
pub fn lines(len: usize) -> Bytes {
    let mut out = Vec::with_capacity(len + 100);
    let mut line = 0_u64;
    while out.len() < len {
        let (status, size) = (200 + line % 7 * 50, line.wrapping_mul(2_654_435_761) % 100_000);
        out.extend(format!("{line:010} GET /pages/{}/index.html {status} {size}\n", line / 13).bytes());
        line += 1;
    }
    out.truncate(len);
    out.into()
}

/// Bytes that do not compress.
pub fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}
