//! Multipart uploads: parts of any size become one container in parts of one size.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lmfs_codec::stream::ContainerHeader;
use object_store::path::Path;
use object_store::{
    Error, MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

use crate::cutter::Cutter;
use crate::encode::{self, Coded, Container};
use crate::error::{failed, generic};
use crate::options::Put;
use crate::shared::Shared;

type Coding = BoxFuture<'static, Result<lmfs_codec::Result<Coded>>>;

impl Shared {
    pub async fn put_multipart(
        self: &Arc<Self>,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        let Put::Compressed { block_size } = self.options.put else {
            return Ok(Box::new(Plain {
                store: Arc::clone(self),
                location: location.clone(),
                inner,
            }));
        };
        let header = ContainerHeader::new(&self.first, block_size).map_err(|error| failed(location, error))?;
        Ok(Box::new(Upload {
            block_size,
            arriving: Cutter::default(),
            groups: 0,
            ending: false,
            upload: Arc::new(Inside {
                store: Arc::clone(self),
                location: location.clone(),
                coding: Mutex::default(),
                inner: Mutex::new(Some(inner)),
                writing: tokio::sync::Mutex::new(Writing {
                    container: Container::new(&header),
                    stored: 0,
                    first: None,
                    written: 0,
                }),
                parts: Mutex::default(),
                lost: AtomicBool::new(false),
            }),
        }))
    }
}

/// An upload of what is stored as it is.
struct Plain {
    store: Arc<Shared>,
    location: Path,
    inner: Box<dyn MultipartUpload>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for Plain {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let _changing = self.store.known.changing(&self.location);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// An upload as its caller has it.
struct Upload {
    block_size: usize,
    /// What is not enough for a group yet. Parts are in the order of the calls.
    arriving: Cutter,
    /// Groups that were cut.
    groups: usize,
    /// The end of the container was made. There is no other.
    ending: bool,
    upload: Arc<Inside>,
}

struct Inside {
    store: Arc<Shared>,
    location: Path,
    /// Groups that are being coded, in their order.
    coding: Mutex<VecDeque<Coding>>,
    /// `None` during a request that ends it. Not behind the lock of what is written: a future that nobody polls any
    /// more may hold that.
    inner: Mutex<Option<Box<dyn MultipartUpload>>>,
    writing: tokio::sync::Mutex<Writing>,
    /// Parts of the container that are to be uploaded, by whoever waits for one of his.
    parts: Mutex<Vec<UploadPart>>,
    /// A part will never be complete.
    lost: AtomicBool,
}

struct Writing {
    container: Container,
    /// Bytes that were given to the inner upload.
    stored: u64,
    /// The group that is waited for.
    first: Option<Coding>,
    /// Groups that are in the container.
    written: usize,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("location", &self.upload.location)
            .finish_non_exhaustive()
    }
}

impl Upload {
    /// Begins to code the next bytes.
    fn code(&mut self, len: usize) {
        let group = self.arriving.take(len);
        let coding = self.upload.store.stage_group(group, self.block_size).boxed();
        self.upload.coding.lock().push_back(coding);
        self.groups += 1;
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        data.iter().for_each(|piece| self.arriving.push(piece.clone()));
        let group = encode::group(self.block_size);
        while self.arriving.len() >= group {
            self.code(group);
        }
        let (upload, groups) = (Arc::clone(&self.upload), self.groups);
        async move { upload.advance(groups).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        while self.arriving.len() > 0 {
            self.code(encode::group(self.block_size));
        }
        let upload = &self.upload;
        upload.advance(self.groups).await?;
        let mut writing = upload.writing.lock().await;
        if std::mem::replace(&mut self.ending, true) {
            return Err(failed(&upload.location, "the upload was ended before"));
        }
        let header = ContainerHeader::new(&upload.store.first, self.block_size);
        let header = header.map_err(|error| failed(&upload.location, error))?;
        let container = std::mem::replace(&mut writing.container, Container::new(&header));
        let len = container.content_len();
        let mut rest = container.finish();
        while rest.len() > 0 {
            let part = rest.take(upload.store.options.part);
            upload.queue(&mut writing, part)?;
        }
        upload.send().await?;
        if upload.lost.load(Ordering::SeqCst) {
            return Err(failed(&upload.location, "a part was not uploaded"));
        }
        let mut inner = Lent::of(&upload.inner).ok_or_else(|| upload.given_up())?;
        let store = &upload.store;
        let changing = store.known.changing(&upload.location);
        let result = inner.upload()?.complete().await;
        drop(changing);
        let result = result?;
        store.remember(&upload.location, result.e_tag.clone(), writing.stored, len);
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.lost.store(true, Ordering::SeqCst);
        self.upload.coding.lock().clear();
        self.upload.parts.lock().clear();
        let mut inner = Lent::of(&self.upload.inner).ok_or_else(|| self.upload.given_up())?;
        inner.upload()?.abort().await
    }
}

impl Inside {
    /// Puts the first groups into the container, and uploads the parts that are full.
    async fn advance(&self, groups: usize) -> Result<()> {
        let mut writing = self.writing.lock().await;
        while writing.written < groups {
            if self.lost.load(Ordering::SeqCst) {
                return Err(self.given_up());
            }
            let Writing { first, .. } = &mut *writing;
            if first.is_none() {
                *first = self.coding.lock().pop_front();
            }
            let Some(coding) = first else {
                return Err(failed(&self.location, "a part of the content is missing"));
            };
            // Stays where it is if this future is dropped.
            let coded = coding.await;
            *first = None;
            let lost = self.guard();
            let coded = coded?.map_err(|error| failed(&self.location, error))?;
            writing
                .container
                .push(coded)
                .map_err(|error| failed(&self.location, error))?;
            lost.found();
            writing.written += 1;
            let size = self.store.options.part;
            while writing.container.out.len() >= size {
                let part = writing.container.out.take(size);
                self.queue(&mut writing, part)?;
            }
        }
        drop(writing);
        self.send().await
    }

    fn queue(&self, writing: &mut Writing, part: Bytes) -> Result<()> {
        writing.stored += part.len() as u64;
        let mut inner = self.inner.lock();
        let part = inner.as_mut().ok_or_else(|| self.given_up())?.put_part(part.into());
        self.parts.lock().push(part);
        Ok(())
    }

    fn given_up(&self) -> Error {
        failed(&self.location, "the upload has failed or was given up")
    }

    /// Uploads parts until there are no more.
    async fn send(&self) -> Result<()> {
        loop {
            let Some(part) = self.parts.lock().pop() else {
                return Ok(());
            };
            let lost = self.guard();
            part.await?;
            lost.found();
        }
    }

    fn guard(&self) -> LostUnlessFound<'_> {
        LostUnlessFound(Some(&self.lost))
    }
}

/// An inner upload for as long as a request takes.
struct Lent<'a> {
    place: &'a Mutex<Option<Box<dyn MultipartUpload>>>,
    upload: Option<Box<dyn MultipartUpload>>,
}

impl Lent<'_> {
    fn of(place: &Mutex<Option<Box<dyn MultipartUpload>>>) -> Option<Lent<'_>> {
        let upload = place.lock().take();
        upload.is_some().then_some(Lent { place, upload })
    }

    fn upload(&mut self) -> Result<&mut Box<dyn MultipartUpload>> {
        self.upload.as_mut().ok_or_else(|| generic("the upload is gone"))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.place.lock() = self.upload.take();
    }
}

/// What was begun and then dropped, or has failed, is lost.
struct LostUnlessFound<'a>(Option<&'a AtomicBool>);

impl LostUnlessFound<'_> {
    fn found(mut self) {
        self.0 = None;
    }
}

impl Drop for LostUnlessFound<'_> {
    fn drop(&mut self) {
        if let Some(lost) = self.0 {
            lost.store(true, Ordering::SeqCst);
        }
    }
}
