//! Creates a store, puts a file into it, deletes the index, and reads the file again.
//!
//! `cargo run --release -p lmfs-indexer --example store -- NEW-FOLDER`

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use lmfs_indexer::{Change, CreateOptions, Dirent, Extent, Inode, Kind, OpenOptions, ROOT_INO, RealIo, Store, Time};

const INO: u64 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::args().nth(1) else {
        return Err("usage: store NEW-FOLDER".into());
    };
    fs::create_dir(&folder)?;

    // A real program takes a random id. It keeps segments of different stores apart.
    let store = Store::create(
        Arc::new(RealIo::new(&folder)?),
        CreateOptions::new(*b"example store id"),
    )?;
    write_file(&store, b"notes.txt", b"hello")?;
    // Nothing is durable before this.
    store.sync()?;
    store.close()?;

    // The index is derived from the log. Without it, opening replays the log.
    fs::remove_dir_all(Path::new(&folder).join("index"))?;
    let (store, _report) = Store::open(Arc::new(RealIo::new(&folder)?), OpenOptions::default())?;
    let contents = read_file(&store, b"notes.txt")?;
    println!("notes.txt: {}", String::from_utf8_lossy(&contents));
    store.close()?;
    Ok(())
}

/// A file of one block in the root directory.
fn write_file(store: &Store, name: &[u8], contents: &[u8]) -> Result<(), Box<dyn Error>> {
    // The block goes into the log first. As long as no transaction refers to it, it is garbage.
    let appended = store.append_block(contents)?;
    let raw_len = u32::try_from(contents.len())?;
    let mut inode = Inode::new(INO, Kind::File, 0o644, Time::default());
    inode.size = u64::from(raw_len);
    let entry = Dirent {
        ino: INO,
        kind: Kind::File,
    };
    // The store keeps the tag and does not interpret it. lmfs puts the compression method there.
    let extent = Extent::new(appended, 0, raw_len);
    let _report = store.commit(vec![
        Change::PutInode(inode),
        Change::PutDirent {
            parent: ROOT_INO,
            name: name.to_vec(),
            entry,
        },
        Change::PutExtents {
            ino: INO,
            first: 0,
            extents: vec![Some(extent)],
        },
    ])?;
    Ok(())
}

fn read_file(store: &Store, name: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let entry = store.dirent(ROOT_INO, name)?.ok_or("no such file")?;
    let extent = store.extent(entry.ino, 0)?.ok_or("an empty file")?;
    Ok(store.read_block_of(entry.ino, 0, &extent)?)
}
