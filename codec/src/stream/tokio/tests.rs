#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::{self, Cursor, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, ReadBuf};

use super::super::tests::{codec, compress, options, text};
use super::*;

#[test]
fn the_asynchronous_forms_do_the_same() {
    blocking_on(async {
        let raw = text(300_000);
        let mut container = Vec::new();
        let read = super::compress(&raw[..], &mut container, codec(), options())
            .await
            .unwrap();
        assert_eq!(read, raw.len() as u64);
        assert_eq!(container, compress(&raw));
        let mut out = Vec::new();
        decompress(&container[..], &mut out, |_| Ok(codec()), options())
            .await
            .unwrap();
        assert_eq!(out, raw);
        let mut out = Vec::new();
        let cut = &container[..container.len() / 2];
        let error = decompress(cut, &mut out, |_| Ok(codec()), options()).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }));
        assert!(!out.is_empty() && raw.starts_with(&out));
    });
}

/// Each stream once kept one of tokio's threads for blocking work for itself: with all of them taken, none went on.
#[test]
fn many_streams_share_a_runtime_with_one_thread_for_blocking_work() {
    let (done, waiting) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = ::tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build();
        runtime.unwrap().block_on(async {
            let raw = text(100_000);
            let mut encoders: Vec<_> = (0..3)
                .map(|_| Encoder::new(Vec::new(), codec(), options()).unwrap())
                .collect();
            for encoder in &mut encoders {
                encoder.write_all(&raw).await.unwrap();
            }
            let mut containers = Vec::new();
            for encoder in encoders {
                containers.push(encoder.finish().await.unwrap());
            }
            let decoder = |container| Decoder::new(container, |_: &_| Ok(codec()), options()).unwrap();
            let mut decoders: Vec<_> = containers.iter().map(|container| decoder(&container[..])).collect();
            for decoder in &mut decoders {
                decoder.read_exact(&mut [0; 100]).await.unwrap();
            }
            let source = Cursor::new(containers[0].clone());
            let mut random = SeekableReader::open(source, |_| Ok(codec())).await.unwrap();
            assert_eq!(random.read_at(50_000, &mut [0; 100]).await.unwrap(), 100);
            for mut decoder in decoders {
                let mut rest = Vec::new();
                decoder.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, raw[100..]);
            }
        });
        done.send(()).unwrap();
    });
    let end = waiting.recv_timeout(std::time::Duration::from_secs(300));
    assert!(end.is_ok(), "not all of them ended");
}

/// A source that gives little at a time, makes its reader wait in between, and counts.
struct Slow {
    inner: Cursor<Vec<u8>>,
    read: Arc<AtomicU64>,
    waits: bool,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waits = !self.waits;
        if self.waits {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut piece = [0; 700];
        let len = buffer.remaining().min(piece.len());
        let len = std::io::Read::read(&mut self.inner, &mut piece[..len])?;
        buffer.put_slice(&piece[..len]);
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for Slow {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        std::io::Seek::seek(&mut self.inner, to).map(drop)
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.inner.position()))
    }
}

pub(super) fn blocking_on<T>(work: impl Future<Output = T>) -> T {
    ::tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn any_part_can_be_read_asynchronously_and_only_that() {
    blocking_on(async {
        let (a, b) = (text(300_000), text(7000));
        let raw = [a.clone(), b.clone()].concat();
        let read = Arc::new(AtomicU64::new(0));
        let source = Slow {
            inner: Cursor::new([compress(&a), compress(&b)].concat()),
            read: Arc::clone(&read),
            waits: false,
        };
        let mut reader = SeekableReader::open(source, |_| Ok(codec())).await.unwrap();
        assert_eq!(reader.len(), raw.len() as u64);
        let tables = read.load(Ordering::Relaxed);
        for (offset, len) in [
            (0, 10),
            (4090, 20),
            (299_990, 20),
            (306_990, 10),
            (306_990, 20),
            (500_000, 5),
        ] {
            let mut part = Vec::new();
            reader.seek(SeekFrom::Start(offset)).await.unwrap();
            (&mut reader).take(len).read_to_end(&mut part).await.unwrap();
            let from = raw.len().min(offset as usize);
            let to = raw.len().min(from + len as usize);
            assert_eq!(part, raw[from..to], "{len} bytes at {offset}");
        }
        let blocks = read.load(Ordering::Relaxed) - tables;
        assert!(
            tables < 1000 && blocks < 7 * 4096,
            "{tables} and {blocks} bytes were read"
        );
        let mut part = [0; 100];
        assert_eq!(reader.read_at(200_000, &mut part).await.unwrap(), 100);
        assert_eq!(part, raw[200_000..200_100]);
        assert!(reader.seek(SeekFrom::Current(-1_000_000)).await.is_err());
    });
}

#[test]
fn a_damaged_block_read_asynchronously_is_an_error_and_the_others_are_not() {
    blocking_on(async {
        let raw = text(20_000);
        let mut container = compress(&raw);
        container[20 + 30] ^= 1;
        let mut reader = SeekableReader::open(Cursor::new(container), |_| Ok(codec()))
            .await
            .unwrap();
        let mut part = [0; 50];
        for _ in 0..2 {
            let error = reader.read_at(10, &mut part).await.unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
            assert_eq!(reader.read_at(9000, &mut part).await.unwrap(), 50);
            assert_eq!(part, raw[9000..9050]);
        }
    });
}

/// The error of the block that a dropped call wanted was once that of the next call, whatever it wanted.
#[test]
fn an_error_after_a_dropped_read_is_none_of_the_next_call() {
    blocking_on(async {
        let raw = text(20_000);
        let mut container = compress(&raw);
        container[20 + 26 + 40] ^= 1;
        let mut reader = SeekableReader::open(Cursor::new(container), |_| Ok(codec()))
            .await
            .unwrap();
        let mut buffer = [0; 100];
        {
            let mut read = std::pin::pin!(reader.read_at(0, &mut buffer));
            let once = std::future::poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_pending()));
            assert!(once.await, "the block is being decoded");
        }
        assert_eq!(reader.read_at(10_000, &mut buffer).await.unwrap(), 100);
        assert_eq!(buffer, raw[10_000..10_100]);
        assert!(reader.read_at(0, &mut buffer).await.is_err());
    });
}
