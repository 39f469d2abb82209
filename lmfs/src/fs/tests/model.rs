//! Random histories against the simplest model there is: a vector of bytes.

use proptest::prelude::*;

use super::*;

const MAX: u64 = 40_000;

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, len: usize, byte: u8 },
    Truncate(u64),
    Punch { offset: u64, len: u64 },
    Zero { offset: u64, len: u64, keep_size: bool },
    Copy { from: u64, to: u64, len: u64 },
    Read { offset: u64, len: u32 },
    Flush,
    Fsync,
    Swap(u64),
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..MAX;
    prop_oneof![
        6 => (at.clone(), 1..9000_usize, 1..=255_u8).prop_map(|(offset, len, byte)| Step::Write { offset, len, byte }),
        2 => at.clone().prop_map(Step::Truncate),
        2 => (at.clone(), 1..9000_u64).prop_map(|(offset, len)| Step::Punch { offset, len }),
        1 => (at.clone(), 1..9000_u64, any::<bool>())
            .prop_map(|(offset, len, keep_size)| Step::Zero { offset, len, keep_size }),
        1 => (0..8_u64, 0..8_u64, 1..20_000_u64)
            .prop_map(|(from, to, len)| Step::Copy { from: from * 4096, to: to * 4096, len }),
        4 => (at, 1..9000_u32).prop_map(|(offset, len)| Step::Read { offset, len }),
        2 => Just(Step::Flush),
        2 => Just(Step::Fsync),
        3 => (0..10_u64).prop_map(Step::Swap),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

fn put(model: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    model.resize(model.len().max(end), 0);
    model[offset as usize..end].copy_from_slice(bytes);
}

fn zero(model: &mut [u8], offset: u64, len: u64) {
    let end = model.len().min((offset + len) as usize);
    if let Some(range) = model.get_mut(offset as usize..end) {
        range.fill(0);
    }
}

/// Packs a block as the packer does: encoded again, swapped if nothing changed.
fn swap(fs: &Filesystem, ino: u64, block: u64) {
    let Some(old) = fs.store().extent(ino, block).unwrap() else {
        return;
    };
    let found = wait(fs.reader.block(ino, block, Asker::DAEMON)).unwrap();
    // All of it, also what a truncate cut off here: another place may share it.
    let (_, raw) = found.unwrap();
    let bytes = codec().encode(&raw, &Stop::new()).unwrap();
    let swap = Change::SwapBlock {
        id: old.id,
        old: old.location,
        new: fs.store().append_again(old.id, &bytes).unwrap(),
        tag: old.tag,
        reference: 0,
        hint: ino,
    };
    let _report = fs.store().commit(vec![swap]).unwrap();
}

fn run(steps: Vec<Step>) {
    let mut disk = Disk::new();
    let ino = disk.file("file");
    let source = disk.file("source");
    let original: Vec<u8> = (0..MAX).map(|i| (i % 251) as u8 | 1).collect();
    disk.fs.write(source, 0, &original, false).unwrap();
    disk.fs.sync().unwrap();
    let mut model = Vec::new();
    for step in steps {
        match step {
            Step::Write { offset, len, byte } => {
                disk.fs.write(ino, offset, &vec![byte; len], false).unwrap();
                put(&mut model, offset, &vec![byte; len]);
            }
            Step::Truncate(size) => {
                let set = SetAttr {
                    size: Some(size),
                    ..SetAttr::default()
                };
                disk.fs.setattr(ino, set, false).unwrap();
                model.resize(size as usize, 0);
            }
            Step::Punch { offset, len } => {
                disk.fs.fallocate(ino, offset, len, Allocate::PunchHole, false).unwrap();
                zero(&mut model, offset, len);
            }
            Step::Zero { offset, len, keep_size } => {
                disk.fs
                    .fallocate(ino, offset, len, Allocate::ZeroRange { keep_size }, false)
                    .unwrap();
                if !keep_size {
                    model.resize(model.len().max((offset + len) as usize), 0);
                }
                zero(&mut model, offset, len);
            }
            Step::Copy { from, to, len } => {
                let count = disk
                    .fs
                    .copy_file_range(
                        FilePosition {
                            ino: source,
                            offset: from,
                        },
                        FilePosition { ino, offset: to },
                        len,
                        false,
                    )
                    .unwrap();
                assert_eq!(u64::from(count), len.min(MAX - from));
                put(&mut model, to, &original[from as usize..][..count as usize]);
            }
            Step::Read { offset, len } => {
                let start = model.len().min(offset as usize);
                let end = model.len().min(offset as usize + len as usize);
                assert_eq!(disk.fs.read_wait(ino, offset, len).unwrap(), model[start..end]);
            }
            Step::Flush => disk.fs.flush(ino).unwrap(),
            Step::Fsync => disk.fs.fsync(ino).unwrap(),
            Step::Swap(block) => swap(&disk.fs, ino, block),
            Step::Reopen => disk = disk.reopen(),
            Step::Crash => {
                disk.fs.fsync(ino).unwrap();
                disk = disk.crash();
            }
        }
        assert_eq!(disk.fs.getattr(ino).unwrap().size, model.len() as u64);
    }
    assert!(disk.all(ino) == model, "contents differ from the model");
    let disk = disk.reopen();
    assert!(
        disk.all(ino) == model,
        "contents differ from the model after opening again"
    );
    assert_eq!(disk.fs.stats().panics, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_file_behaves_like_a_vector_of_bytes(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}
