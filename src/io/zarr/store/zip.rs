//! A store that is a zip file: an object is an entry.
//!
//! The directory at the end of the file is read once; where a name occurs several times, the last one counts, as
//! appending to a zip file is how Zarr changes an object. A stored entry is read in place, by position; a deflated one is
//! inflated whole, to the length that the directory states, and its checksum compared. If everything lies in one folder
//! of the zip file, that folder is the store.
//!
//! Source: PKWARE, APPNOTE.TXT 6.3.10, §4.3 and §4.5.3 (zip64).

use std::collections::BTreeMap;
use std::path::Path;

use super::super::super::codecs;
use super::super::super::input::Input;
use super::{Object, ROOTS};
use crate::error::Result;

/// A zip file whose directory was read.
#[derive(Debug)]
pub(crate) struct ZipFile {
    input: Input,
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    header: u64,
    stored: u64,
    len: u64,
    method: u16,
    crc: u32,
}

/// The most that deflate expands.
const DEFLATE_EXPANSION: u64 = 1032;
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";

impl ZipFile {
    pub(super) fn open(input: Input) -> Result<Self> {
        let (start, len) = directory(&input)?;
        let mut bytes = vec![0; len as usize];
        input.read_exact_at(&mut bytes, start)?;
        let mut entries = BTreeMap::new();
        let mut rest = &bytes[..];
        while let Some((name, entry, after)) = next_entry(rest) {
            if !name.ends_with('/') {
                entries.insert(name, entry);
            }
            rest = after;
        }
        if !rest.is_empty() {
            let place = format!("byte {}", start + (bytes.len() - rest.len()) as u64);
            return Err(input.bad(place, "an entry of the zip file's directory", "something else"));
        }
        let entries = without_common_folder(entries);
        if !ROOTS.iter().any(|root| entries.contains_key(*root)) {
            let expected = "a Zarr store, which holds zarr.json, .zgroup or .zarray";
            return Err(input.bad("the zip file", expected, format!("{} other entries", entries.len())));
        }
        Ok(ZipFile { input, entries })
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    pub(super) fn path(&self) -> &Path {
        self.input.path()
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.input.len()
    }

    pub(super) fn check_unchanged(&self) -> Result<()> {
        self.input.check_unchanged()
    }

    pub(super) fn folders(&self, path: &str) -> Vec<String> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.entries.range(prefix.clone()..).map_while(|(name, _)| name.strip_prefix(&prefix));
        let mut names: Vec<String> =
            below.filter_map(|name| name.split_once('/')).map(|(name, _)| name.to_string()).collect();
        names.dedup();
        names
    }

    pub(super) fn object(&self, key: &str, most: u64) -> Result<Option<Object>> {
        let Some(entry) = self.entries.get(key) else { return Ok(None) };
        let mut header = [0; 30];
        self.input.read_exact_at(&mut header, entry.header)?;
        let data = entry.header + 30 + u64::from(word(&header, 26)) + u64::from(word(&header, 28));
        let end = data.checked_add(entry.stored).filter(|end| *end <= self.input.len());
        let Some(end) = end.filter(|_| header[..4] == LOCAL) else {
            return Err(self.input.bad(key, "the entry's bytes where the zip file's directory says", "something else"));
        };
        match entry.method {
            0 => Ok(Some(Object::Part(self.input.clone(), data..end))),
            8 => self.inflate(key, entry, data, most).map(|bytes| Some(Object::Bytes(bytes))),
            other => Err(self.input.unsupported(
                format!("{key}: method {other} of the zip format, or encryption"),
                "make the zip file with stored or deflated entries",
            )),
        }
    }

    fn inflate(&self, key: &str, entry: &Entry, data: u64, most: u64) -> Result<Vec<u8>> {
        let largest = most.min(entry.stored.saturating_mul(DEFLATE_EXPANSION));
        if entry.len > largest {
            return Err(self.input.bad(key, format!("at most {largest} bytes"), format!("{} bytes", entry.len)));
        }
        let mut stored = vec![0; entry.stored as usize];
        self.input.read_exact_at(&mut stored, data)?;
        match codecs::inflate_raw(&stored, entry.len as usize) {
            Ok(bytes) if crc32fast::hash(&bytes) == entry.crc => Ok(bytes),
            Ok(_) => Err(self.input.bad(key, "the checksum that the zip file states", "another one")),
            Err(why) => Err(self.input.bad(key, "deflated bytes", why)),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn double(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn quad(bytes: &[u8], at: usize) -> u64 {
    u64::from(double(bytes, at)) | u64::from(double(bytes, at + 4)) << 32
}

/// Finds the directory: its place and length, which lie inside the file.
fn directory(input: &Input) -> Result<(u64, u64)> {
    let bad = || input.bad("the end", "the directory of a zip file", "none: no zip file, or one cut short");
    let tail_len = input.len().min(22 + 0xffff + 20);
    let tail_start = input.len() - tail_len;
    let mut tail = vec![0; tail_len as usize];
    input.read_exact_at(&mut tail, tail_start)?;
    let is_end = |at: &usize| tail[*at..].starts_with(&END) && *at + 22 + word(&tail, at + 20) as usize == tail.len();
    let end = (0..(tail.len() + 1).saturating_sub(22)).rev().find(is_end).ok_or_else(bad)?;
    let mut found = (u64::from(double(&tail, end + 16)), u64::from(double(&tail, end + 12)));
    if let Some(locator) = end.checked_sub(20).map(|at| &tail[at..end]).filter(|at| at.starts_with(&LOCATOR_64)) {
        let mut record = [0; 56];
        let at = quad(locator, 8);
        if at.checked_add(56).is_none_or(|end| end > input.len()) {
            return Err(bad());
        }
        input.read_exact_at(&mut record, at)?;
        if !record.starts_with(&END_64) {
            return Err(bad());
        }
        found = (quad(&record, 48), quad(&record, 40));
    }
    let inside = found.0.checked_add(found.1).is_some_and(|end| end <= input.len());
    inside.then_some(found).ok_or_else(bad)
}

/// Takes the first entry off the directory; `None` when there is none, or none that is whole.
fn next_entry(bytes: &[u8]) -> Option<(String, Entry, &[u8])> {
    let head = bytes.first_chunk::<46>().filter(|head| head.starts_with(&ENTRY))?;
    let (name_len, extra_len, comment_len) =
        (word(head, 28) as usize, word(head, 30) as usize, word(head, 32) as usize);
    let name = String::from_utf8_lossy(bytes.get(46..46 + name_len)?).into_owned();
    let extra = bytes.get(46 + name_len..46 + name_len + extra_len)?;
    let rest = bytes.get(46 + name_len + extra_len + comment_len..)?;
    let mut sizes = [double(head, 24), double(head, 20), double(head, 42)].map(u64::from);
    let mut wide = extra_of(extra, 1).unwrap_or_default();
    for size in sizes.iter_mut().filter(|size| **size == u64::from(u32::MAX)) {
        let (first, after) = wide.split_first_chunk::<8>()?;
        *size = u64::from_le_bytes(*first);
        wide = after;
    }
    let encrypted = word(head, 8) & 1 == 1;
    let method = if encrypted { u16::MAX } else { word(head, 10) };
    let entry = Entry { header: sizes[2], stored: sizes[1], len: sizes[0], method, crc: double(head, 16) };
    Some((name, entry, rest))
}

/// Finds an extra field by its number.
fn extra_of(mut extra: &[u8], number: u16) -> Option<&[u8]> {
    while extra.len() >= 4 {
        let field = extra.get(4..4 + word(extra, 2) as usize)?;
        if word(extra, 0) == number {
            return Some(field);
        }
        extra = &extra[4 + field.len()..];
    }
    None
}

/// Takes off the folder that all entries lie in, where the store begins there.
fn without_common_folder(entries: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    if ROOTS.iter().any(|root| entries.contains_key(*root)) {
        return entries;
    }
    let folder = entries.keys().next().and_then(|name| name.split_once('/')).map(|(folder, _)| format!("{folder}/"));
    let Some(folder) = folder.filter(|folder| entries.keys().all(|name| name.starts_with(folder.as_str()))) else {
        return entries;
    };
    entries.into_iter().map(|(name, entry)| (name[folder.len()..].to_string(), entry)).collect()
}
