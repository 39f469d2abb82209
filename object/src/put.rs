//! PUT: content becomes a container of fast blocks.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use lmfs_codec::stream::ContainerHeader;
use lmfs_codec::stream::layout::{ends_a_container, starts_a_container};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, PutOptions, PutPayload, PutResult, Result};

use crate::cutter::Cutter;
use crate::encode::{self, Container};
use crate::error::failed;
use crate::options::Put;
use crate::shared::Shared;

impl Shared {
    pub async fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let Put::Compressed { block_size } = self.options.put else {
            let _changing = self.known.changing(location);
            return self.inner.put_opts(location, payload, options).await;
        };
        let len = payload.content_length();
        let stored = self.compressed(location, &payload, block_size).await?;
        // Smaller as it is, and nothing that would be read as a container.
        let stored = match stored {
            Some(stored) if stored.len() < len || looks_like_a_container(&payload) => stored,
            _ => return self.put_known(location, payload, options, len).await,
        };
        self.put_known(location, stored.into_pieces().collect(), options, len)
            .await
    }

    /// Puts what has so many bytes of content.
    async fn put_known(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
        len: usize,
    ) -> Result<PutResult> {
        let stored = payload.content_length() as u64;
        let changing = self.known.changing(location);
        let result = self.inner.put_opts(location, payload, options).await;
        drop(changing);
        let result = result?;
        self.remember(location, result.e_tag.clone(), stored, len as u64);
        Ok(result)
    }

    /// Remembers the size of what was put, once what was there before is forgotten.
    pub fn remember(&self, location: &Path, e_tag: Option<String>, stored: u64, len: u64) {
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: std::time::SystemTime::now().into(),
            size: stored,
            e_tag,
            version: None,
        };
        self.known.set_len(&meta, len);
    }

    /// The container of a content; `None` if there is nothing in it.
    async fn compressed(&self, location: &Path, payload: &PutPayload, block_size: usize) -> Result<Option<Cutter>> {
        let mut content = Cutter::default();
        payload.iter().for_each(|piece| content.push(piece.clone()));
        if content.len() == 0 {
            return Ok(None);
        }
        let header = ContainerHeader::new(&self.first, block_size).map_err(|error| failed(location, error))?;
        let mut container = Container::new(&header);
        let groups = std::iter::from_fn(|| (content.len() > 0).then(|| content.take(encode::group(block_size))));
        let mut coded = stream::iter(groups)
            .map(|group| self.stage_group(group, block_size))
            .buffered(self.options.threads);
        while let Some(coded) = coded.try_next().await? {
            let coded = coded.map_err(|error| failed(location, error))?;
            container.push(coded).map_err(|error| failed(location, error))?;
        }
        drop(coded);
        Ok(Some(container.finish()))
    }

    /// Codes a group of content on the pool, beginning now.
    pub fn stage_group(
        &self,
        group: Bytes,
        block_size: usize,
    ) -> impl Future<Output = Result<lmfs_codec::Result<encode::Coded>>> + Send + use<> {
        let codec = self.first.clone();
        self.pool
            .run(move || encode::blocks(&group, block_size, |raw| encode::quickly(&codec, raw)))
    }
}

/// Whether an object of these bytes would be taken for a container.
fn looks_like_a_container(payload: &PutPayload) -> bool {
    let mut start = Cutter::default();
    let mut end = Vec::new();
    for piece in payload {
        if start.len() < 8 {
            start.push(piece.slice(..piece.len().min(8)));
        }
        let more = piece.len().saturating_sub(8);
        end.extend_from_slice(&piece.slice(more..));
        end.drain(..end.len().saturating_sub(8));
    }
    starts_a_container(&start.take(8)) || ends_a_container(&end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_seen_in_pieces_of_any_size() {
        let container = |from: &[u8]| from.chunks(3).map(Bytes::copy_from_slice).collect::<PutPayload>();
        let text = [b'x'; 100];
        let magic = *b"\xb5LMZ\r\n\x1a\n";
        let end = *b"\xb5END";
        assert!(!looks_like_a_container(&container(&text)));
        assert!(!looks_like_a_container(&PutPayload::default()));
        assert!(looks_like_a_container(&container(&[&magic[..], &text].concat())));
        assert!(looks_like_a_container(&container(&[&text[..], &end].concat())));
        assert!(!looks_like_a_container(&container(&[&end[..], &text, &magic].concat())));
    }
}
