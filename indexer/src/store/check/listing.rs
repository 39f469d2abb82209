//! Whether the two rows of every directory entry, by name and by cookie, say the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

use super::report::{Finding, Severity};
use crate::Result;
use crate::index::Index;
use crate::index::rows::{self, Row};
use crate::types::{Cookie, Dirent};

/// A sum over entries that does not depend on their order: rows by name and rows by cookie must have the same.
#[derive(Default, PartialEq)]
pub(super) struct Sum {
    rows: u64,
    hash: u64,
}

impl Sum {
    /// Counts an entry in.
    pub(super) fn add(&mut self, parent: u64, name: &[u8], entry: Dirent, cookie: Cookie) {
        let mut hasher = DefaultHasher::new();
        (parent, name, entry, cookie).hash(&mut hasher);
        self.rows += 1;
        self.hash = self.hash.wrapping_add(hasher.finish());
    }
}

/// What is wrong where the sums differ.
pub(super) fn differences(index: &Index) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut find = |what: String, parent: u64| findings.push(Finding::new(Severity::Error, what).ino(parent));
    let failed = index.scan_prefix(&[rows::COOKIE], &[rows::COOKIE], |key, value| {
        if let Some(Row::Listed {
            parent,
            cookie,
            name,
            entry,
        }) = rows::parse(key, value)
        {
            match index.get(&rows::named(rows::DIRENT, parent, name)) {
                Ok(row) if row.as_deref().and_then(rows::decode_dirent) == Some((entry, cookie)) => {}
                Ok(_) => find(
                    format!("listings show {:?}, which a lookup does not find so", lossy(name)),
                    parent,
                ),
                Err(e) => return ControlFlow::Break(e),
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(e) = failed {
        return Err(e);
    }
    let failed = index.scan_prefix(&[rows::DIRENT], &[rows::DIRENT], |key, value| {
        if let Some(Row::Dirent {
            parent, name, cookie, ..
        }) = rows::parse(key, value)
        {
            match index.get(&rows::cookie_key(parent, cookie)) {
                Ok(Some(_)) => {}
                Ok(None) => find(format!("the entry {:?} is missing from listings", lossy(name)), parent),
                Err(e) => return ControlFlow::Break(e),
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(findings), Err)
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
