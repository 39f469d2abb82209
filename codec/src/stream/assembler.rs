//! Making a container of coded blocks. No IO: whoever writes puts the parts one after the other.

use super::format::ContainerHeader;
use super::table::SeekTable;
use crate::{Error, Header, Result};

/// What comes behind the blocks of a container. The container is the [header's](ContainerHeader::to_bytes) bytes, then
/// the blocks in the order in which they were [pushed](Assembler::push), then what [`finish`](Assembler::finish)
/// returns.
#[derive(Debug)]
pub struct Assembler {
    block_size: usize,
    table: SeekTable,
    crc: crc32fast::Hasher,
    /// A block was shorter than the others, as only the last one is.
    ended: bool,
}

impl Assembler {
    /// For a container with this header.
    pub fn new(header: &ContainerHeader) -> Assembler {
        Assembler {
            block_size: header.block_size,
            table: SeekTable {
                header_len: header.stored_len(),
                ..SeekTable::default()
            },
            crc: crc32fast::Hasher::new(),
            ended: false,
        }
    }

    /// Takes note of the next block.
    ///
    /// # Errors
    /// What is no block, is empty or longer than the header says, or comes behind one that is shorter.
    pub fn push(&mut self, block: &[u8]) -> Result<()> {
        let header = Header::parse(block)?;
        let len = header.raw_len as usize;
        if self.ended || len == 0 || len > self.block_size {
            return Err(Error::InvalidOption(format!(
                "a block of {len} bytes does not fit here: all but the last have {} bytes",
                self.block_size
            )));
        }
        let Ok(stored) = u32::try_from(block.len()) else {
            return Err(Error::InvalidOption("a block of more than 4 GiB".into()));
        };
        if self.table.stored.len() >= u32::MAX as usize {
            return Err(Error::InvalidOption(
                "a container holds at most 2^32 blocks; use larger blocks".into(),
            ));
        }
        self.ended = len < self.block_size;
        self.table.stored.push(stored);
        self.table.raw_len += u64::from(header.raw_len);
        let raw = crc32fast::Hasher::new_with_initial_len(header.raw_crc, header.raw_len.into());
        self.crc.combine(&raw);
        Ok(())
    }

    /// Bytes of content so far.
    pub fn content_len(&self) -> u64 {
        self.table.raw_len
    }

    /// CRC-32 of the content so far.
    pub fn content_crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    /// The seek table and the footer.
    pub fn finish(mut self) -> Vec<u8> {
        self.table.raw_crc = self.content_crc();
        self.table.to_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::stream::{Decoder, StreamOptions};
    use crate::{Codec, Options};

    #[test]
    fn header_blocks_and_what_it_returns_are_a_container() {
        let codec = Codec::new(None, Options::default()).unwrap();
        let header = ContainerHeader::new(&codec, 4096).unwrap();
        let content: Vec<u8> = (0..10_000_u32).flat_map(|i| (i / 3).to_le_bytes()).collect();
        let mut container = header.to_bytes();
        let mut assembler = Assembler::new(&header);
        for raw in content.chunks(4096) {
            let block = codec.stage(raw).unwrap();
            assembler.push(&block).unwrap();
            container.extend(block);
        }
        assert_eq!(assembler.content_len(), 40_000);
        assert_eq!(assembler.content_crc(), crc32fast::hash(&content));
        // The last block was shorter: nothing may follow it.
        assert!(assembler.push(&codec.stage(b"more").unwrap()).is_err());
        container.extend(assembler.finish());

        let codec_of = move |_: &_| Ok(codec.clone());
        let mut decoder = Decoder::new(&container[..], codec_of, StreamOptions::default());
        let mut decoded = Vec::new();
        while let Some(chunk) = decoder.next_chunk().unwrap() {
            decoded.extend(chunk);
        }
        assert_eq!(decoded, content);
    }

    #[test]
    fn blocks_that_do_not_fit_are_refused() {
        let codec = Codec::new(None, Options::default()).unwrap();
        let header = ContainerHeader::new(&codec, 4096).unwrap();
        let mut assembler = Assembler::new(&header);
        assert!(assembler.push(b"no block").is_err());
        assert!(assembler.push(&codec.stage(b"").unwrap()).is_err());
        assert!(assembler.push(&codec.stage(&[0; 4097]).unwrap()).is_err());
        assembler.push(&codec.stage(&[0; 4096]).unwrap()).unwrap();
    }
}
