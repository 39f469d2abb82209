//! Content becomes a container.

use bytes::Bytes;
use lmfs_codec::stream::{Assembler, ContainerHeader};
use lmfs_codec::{Codec, Result, Stop};

use crate::cutter::Cutter;

/// About as many bytes of content are coded by one thread at a time.
const GROUP: usize = 4 << 20;

/// Bytes of content to code at a time: whole blocks.
pub fn group(block_size: usize) -> usize {
    GROUP.next_multiple_of(block_size)
}

/// Blocks one after the other.
pub struct Coded {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Codes a group of content block by block.
pub fn blocks(content: &[u8], block_size: usize, code: impl Fn(&[u8]) -> Result<Vec<u8>>) -> Result<Coded> {
    let mut coded = Coded {
        bytes: Vec::new(),
        ends: Vec::new(),
    };
    for raw in content.chunks(block_size) {
        coded.bytes.extend(code(raw)?);
        coded.ends.push(coded.bytes.len());
    }
    Ok(coded)
}

/// A block made quickly, which has been decoded and compared.
pub fn quickly(codec: &Codec, raw: &[u8]) -> Result<Vec<u8>> {
    let block = codec.stage(raw)?;
    if codec.decode(&block, &Stop::new())? == raw {
        return Ok(block);
    }
    Err(lmfs_codec::Error::Verification(
        "a staged block decodes to other bytes".into(),
    ))
}

/// A container that grows.
#[derive(Debug)]
pub struct Container {
    assembler: Assembler,
    /// What was not taken yet.
    pub out: Cutter,
}

impl Container {
    pub fn new(header: &ContainerHeader) -> Container {
        let mut out = Cutter::default();
        out.push(header.to_bytes().into());
        Container {
            assembler: Assembler::new(header),
            out,
        }
    }

    pub fn push(&mut self, coded: Coded) -> Result<()> {
        let mut start = 0;
        for end in coded.ends {
            self.assembler.push(coded.bytes.get(start..end).unwrap_or_default())?;
            start = end;
        }
        self.out.push(Bytes::from(coded.bytes));
        Ok(())
    }

    pub fn content_len(&self) -> u64 {
        self.assembler.content_len()
    }

    /// CRC-32 of the content so far.
    pub fn content_crc(&self) -> u32 {
        self.assembler.content_crc()
    }

    /// All that was not taken, up to the end of the container.
    pub fn finish(self) -> Cutter {
        let Container { assembler, mut out } = self;
        out.push(assembler.finish().into());
        out
    }
}
