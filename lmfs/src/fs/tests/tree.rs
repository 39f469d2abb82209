//! Random histories of names against a plain directory on the disk below: the same errno for every operation, the same
//! answer, the same tree, also after crashes and packing.

mod compare;
mod plain;
mod run;

use proptest::prelude::*;

use crate::testing::soak::rounds;
use run::World;

/// A path of one to three names, few enough that they meet often.
pub type Path = Vec<&'static str>;

#[derive(Clone, Debug)]
pub enum Step {
    Mkdir(Path, u32),
    Create(Path),
    Symlink(Path, u8),
    Link(Path, Path),
    Rename(Path, Path, super::RenameMode),
    Unlink(Path),
    Rmdir(Path),
    Write(Path, u64, usize, u8),
    Truncate(Path, u64),
    Chmod(Path, u32),
    Mtime(Path, i64, u32),
    SetXattr(Path, u8, usize, super::XattrMode),
    RemoveXattr(Path, u8),
    /// Opens a file and keeps it open.
    Open(Path),
    /// Makes a file without a name in a directory and keeps it open; says whether it may get a name.
    Tmpfile(Path, bool),
    /// Gives an open file a name.
    LinkOpen(usize, Path),
    WriteOpen(usize, u64, usize, u8),
    ReadOpen(usize),
    Close(usize),
    List(Path),
    Sync,
    Pack,
    Reopen,
    /// `fsync` of a directory, then the process dies: all names and attributes are there, data of other files need not
    /// be.
    Crash,
}

fn path() -> impl Strategy<Value = Path> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    prop::collection::vec(name, 1..=3)
}

fn step() -> impl Strategy<Value = Step> {
    use super::{RenameMode, XattrMode};
    let rename = prop::sample::select(vec![
        RenameMode::Replace,
        RenameMode::Replace,
        RenameMode::NoReplace,
        RenameMode::Exchange,
        RenameMode::Whiteout {
            replace: true,
            owner: super::ME,
        },
    ]);
    let xattr = prop::sample::select(vec![XattrMode::Any, XattrMode::Create, XattrMode::Replace]);
    let open = 0..4_usize;
    prop_oneof![
        8 => (path(), prop::sample::select(vec![0o755, 0o2775, 0o700]))
            .prop_map(|(path, perm)| Step::Mkdir(path, perm)),
        8 => path().prop_map(Step::Create),
        2 => (path(), any::<u8>()).prop_map(|(path, target)| Step::Symlink(path, target)),
        4 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
        9 => (path(), path(), rename).prop_map(|(from, to, mode)| Step::Rename(from, to, mode)),
        4 => path().prop_map(Step::Unlink),
        3 => path().prop_map(Step::Rmdir),
        6 => (path(), 0..20_000_u64, 1..9000_usize, any::<u8>())
            .prop_map(|(p, at, len, byte)| Step::Write(p, at, len, byte)),
        3 => (path(), 0..30_000_u64).prop_map(|(path, size)| Step::Truncate(path, size)),
        2 => (path(), 0..=0o7777_u32).prop_map(|(path, perm)| Step::Chmod(path, perm)),
        2 => (path(), -2_000_000_000..2_000_000_000_i64, 0..1_000_000_000_u32)
            .prop_map(|(p, s, n)| Step::Mtime(p, s, n)),
        3 => (path(), 0..3_u8, 0..200_usize, xattr).prop_map(|(p, name, len, mode)| Step::SetXattr(p, name, len, mode)),
        2 => (path(), 0..3_u8).prop_map(|(path, name)| Step::RemoveXattr(path, name)),
        4 => path().prop_map(Step::Open),
        2 => (path(), any::<bool>()).prop_map(|(path, linkable)| Step::Tmpfile(path, linkable)),
        3 => (open.clone(), path()).prop_map(|(number, path)| Step::LinkOpen(number, path)),
        3 => (open.clone(), 0..20_000_u64, 1..9000_usize, any::<u8>())
            .prop_map(|(f, at, len, byte)| Step::WriteOpen(f, at, len, byte)),
        2 => open.clone().prop_map(Step::ReadOpen),
        2 => open.prop_map(Step::Close),
        2 => path().prop_map(Step::List),
        1 => Just(Step::Sync),
        1 => Just(Step::Pack),
        1 => Just(Step::Reopen),
        2 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: rounds(48, 2000) as u32,
        ..ProptestConfig::default()
    })]
    #[test]
    fn a_tree_behaves_like_a_plain_directory(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.end();
    }
}
