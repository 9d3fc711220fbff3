//! A private directory for nameless files, and the sweeping of those that dead processes left.
//!
//! ```text
//! /var/tmp/                          the parent: ours or root's, on a disk
//!   allotment-4711-1f0c…9a/          0700, locked with flock as long as its process lives, empty
//! ```
//!
//! All work goes through descriptors, so a directory that is renamed, or replaced by a symbolic link, leads nowhere
//! else. Files are created without a name (`O_TMPFILE`), or lose it at once where the file system cannot do that:
//! whatever kills the process, the kernel frees the bytes. What a kill can leave is an empty directory; the next
//! process in the same parent takes it away, once it holds the lock that the dead process lost.

use std::ffi::CStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::filesystem::FileSystem;
use crate::error::{Error, Result};

/// How the names of our directories start; the process' number and the session follow.
const PREFIX: &str = "allotment-";
/// How the names of files start, where a file must have a name for a moment.
const FILE_PREFIX: &str = "segment-";
const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A locked directory that only this process uses.
#[derive(Debug)]
pub(super) struct Directory {
    parent: OwnedFd,
    own: OwnedFd,
    name: String,
    path: Arc<Path>,
    session: u64,
    pid: u32,
}

impl Directory {
    /// Checks the parent, sweeps it, and creates and locks a directory of our own in it.
    pub(super) fn create(parent_path: &Path) -> Result<Self> {
        let parent = open_parent(parent_path)?;
        sweep(&parent);
        let pid = std::process::id();
        for _ in 0..16 {
            let session = random_number();
            let name = format!("{PREFIX}{pid}-{session:016x}");
            let path: Arc<Path> = parent_path.join(&name).into();
            match fs::mkdirat(&parent, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(unusable(parent_path, format!("no directory can be made in it: {errno}"))),
            }
            if let Some(own) = lock_new(&parent, &name, &path)? {
                return Ok(Directory { parent, own, name, path, session, pid });
            }
        }
        Err(unusable(parent_path, "every directory made in it was taken away at once"))
    }

    /// Returns where the directory is.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Returns the number that tells this directory's chunks from all others.
    pub(super) fn session(&self) -> u64 {
        self.session
    }

    /// Returns whether this process made the directory, rather than its parent before a fork.
    pub(super) fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }

    /// Returns which kind of file system it is on.
    pub(super) fn file_system(&self) -> Result<FileSystem> {
        let answer = fs::fstatfs(&self.own).map_err(|errno| self.unusable(format!("statfs failed: {errno}")))?;
        Ok(FileSystem::from_magic(answer.f_type as u64))
    }

    /// Returns how many bytes are free on its file system for us.
    pub(super) fn free_bytes(&self) -> u64 {
        fs::fstatvfs(&self.own).map_or(0, |answer| answer.f_bavail.saturating_mul(answer.f_frsize))
    }

    /// Creates a file without a name.
    ///
    /// # Errors
    ///
    /// `SpoolDir` when the directory was removed, closed or replaced, or cannot hold files; `SpoolFull` when not even an
    /// empty file fits.
    pub(super) fn create_file(&self) -> Result<File> {
        self.check()?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        match fs::openat(&self.own, c".", flags | OFlags::TMPFILE, mode) {
            Ok(file) => return Ok(file.into()),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {}
            Err(errno) => return Err(self.refused(errno)),
        }
        let name = format!("{FILE_PREFIX}{:016x}", random_number());
        let exclusive = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = fs::openat(&self.own, &name, exclusive, mode).map_err(|errno| self.refused(errno))?;
        fs::unlinkat(&self.own, &name, AtFlags::empty()).map_err(|errno| self.refused(errno))?;
        Ok(file.into())
    }

    /// Removes the directory. Files that are open stay as they are.
    pub(super) fn remove(&self) {
        // The name may lead elsewhere by now; and after a fork the directory is the parent's.
        if self.is_ours() && self.is_still_named() {
            // It is empty, as files have no names; if another program put something there, it is not ours to delete.
            let _ = fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
        }
    }

    /// Makes this process look like a forked child of the one that made the directory.
    #[cfg(test)]
    pub(super) fn pretend_fork(&mut self, forked: bool) {
        self.pid = if forked { 0 } else { std::process::id() };
    }

    /// Builds the error of a directory that cannot be used.
    pub(super) fn unusable(&self, why: impl AsRef<str>) -> Error {
        unusable(&self.path, why)
    }

    fn is_still_named(&self) -> bool {
        let (Ok(named), Ok(own)) =
            (fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW), fs::fstat(&self.own))
        else {
            return false;
        };
        (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)
    }

    fn check(&self) -> Result<()> {
        let own = fs::fstat(&self.own).map_err(|errno| self.unusable(format!("fstat failed: {errno}")))?;
        if own.st_nlink == 0 {
            return Err(self.unusable("it was removed"));
        }
        if !self.is_still_named() {
            return Err(self.unusable("it was moved, or something else stands in its place"));
        }
        check_private(&own, &self.path)
    }

    fn refused(&self, errno: Errno) -> Error {
        match errno {
            Errno::NOSPC | Errno::DQUOT => {
                Error::SpoolFull { dir: self.path.clone(), need: 4096, free: self.free_bytes() }
            }
            Errno::MFILE | Errno::NFILE => Error::io("open a segment in", &*self.path, errno.into()),
            _ => self.unusable(format!("no file can be made in it: {errno}")),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.remove();
    }
}

fn unusable(path: &Path, why: impl AsRef<str>) -> Error {
    Error::SpoolDir { dir: path.into(), why: why.as_ref().into() }
}

/// Opens the parent; refuses what another user could have put there.
fn open_parent(path: &Path) -> Result<OwnedFd> {
    let me = rustix::process::geteuid().as_raw();
    let trusted = |stat: &Stat| stat.st_uid == 0 || stat.st_uid == me;
    let named = fs::lstat(path).map_err(|errno| unusable(path, errno.to_string()))?;
    if FileType::from_raw_mode(named.st_mode) == FileType::Symlink && !trusted(&named) {
        return Err(unusable(path, format!("it is a symbolic link of user {}", named.st_uid)));
    }
    let parent = fs::open(path, OPEN_DIRECTORY, Mode::empty()).map_err(|errno| unusable(path, errno.to_string()))?;
    let stat = fs::fstat(&parent).map_err(|errno| unusable(path, errno.to_string()))?;
    if !trusted(&stat) {
        return Err(unusable(path, format!("it belongs to user {}, and this is user {me}", stat.st_uid)));
    }
    Ok(parent)
}

/// Opens and locks a directory just made; `None` when a sweeper was faster.
fn lock_new(parent: &OwnedFd, name: &str, path: &Path) -> Result<Option<OwnedFd>> {
    let failed = |errno: Errno| unusable(path, errno.to_string());
    let own = match fs::openat(parent, name, OPEN_DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(own) => own,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    match fs::flock(&own, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        // A file system without locks: nobody can sweep there either, because sweeping needs the lock.
        Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(errno) => return Err(failed(errno)),
    }
    // The umask may have taken more than it should, or the parent's ACLs given.
    fs::fchmod(&own, Mode::RWXU).map_err(failed)?;
    let stat = fs::fstat(&own).map_err(failed)?;
    if stat.st_nlink == 0 {
        return Ok(None);
    }
    check_private(&stat, path)?;
    Ok(Some(own))
}

fn check_private(stat: &Stat, path: &Path) -> Result<()> {
    let (me, mode) = (rustix::process::geteuid().as_raw(), stat.st_mode & 0o777);
    if stat.st_uid != me {
        return Err(unusable(path, format!("it belongs to user {}, and this is user {me}", stat.st_uid)));
    }
    if mode != 0o700 {
        return Err(unusable(path, format!("its mode is {mode:03o}, and must be 700")));
    }
    Ok(())
}

/// Removes the directories that dead processes of this user left in `parent`.
///
/// Only what has our name, our owner and no lock. A failure is no error: the next process tries again.
fn sweep(parent: &OwnedFd) {
    let Ok(entries) = fs::Dir::read_from(parent) else { return };
    for entry in entries.flatten() {
        if let Ok(name) = entry.file_name().to_str()
            && is_our_name(name)
        {
            sweep_one(parent, entry.file_name());
        }
    }
}

fn is_our_name(name: &str) -> bool {
    let Some((pid, session)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else { return false };
    let is_hex = |byte: u8| byte.is_ascii_hexdigit();
    !pid.is_empty()
        && pid.bytes().all(|byte| byte.is_ascii_digit())
        && session.len() == 16
        && session.bytes().all(is_hex)
}

fn sweep_one(parent: &OwnedFd, name: &CStr) -> Option<()> {
    let own = fs::openat(parent, name, OPEN_DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).ok()?;
    let stat = fs::fstat(&own).ok()?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return None;
    }
    // Whoever uses the directory holds this lock; when we get it, nobody does, whatever its name says.
    fs::flock(&own, FlockOperation::NonBlockingLockExclusive).ok()?;
    for entry in fs::Dir::read_from(&own).ok()?.flatten() {
        if entry.file_name().to_bytes().starts_with(FILE_PREFIX.as_bytes()) {
            fs::unlinkat(&own, entry.file_name(), AtFlags::empty()).ok()?;
        }
    }
    fs::unlinkat(parent, name, AtFlags::REMOVEDIR).ok()
}

/// Returns a number that no other process guesses or repeats: std seeds its hashers from the system.
fn random_number() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Returns the directory that spools are made in: the given one, else `$ALLOTMENT_SPOOL`, else `/var/tmp`.
pub(super) fn parent_path(given: Option<&Path>) -> PathBuf {
    let from_environment = || std::env::var_os("ALLOTMENT_SPOOL").filter(|value| !value.is_empty()).map(PathBuf::from);
    given.map(PathBuf::from).or_else(from_environment).unwrap_or_else(|| PathBuf::from("/var/tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names_in(path: &Path) -> Vec<String> {
        std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_directory_is_private_and_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::create(parent.path()).unwrap();
        let mode = std::fs::metadata(directory.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let file = directory.create_file().unwrap();
        assert!(names_in(directory.path()).is_empty(), "files have no names");
        drop(directory);
        assert!(names_in(parent.path()).is_empty());
        assert_eq!(file.metadata().unwrap().len(), 0, "an open file outlives its directory");
    }

    #[test]
    fn a_forked_child_leaves_the_directory_to_its_parent() {
        let parent = tempfile::tempdir().unwrap();
        let mut directory = Directory::create(parent.path()).unwrap();
        directory.pretend_fork(true);
        let path = directory.path().clone();
        drop(directory);
        assert!(path.exists());
    }

    #[test]
    fn only_directories_without_a_lock_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let live = Directory::create(parent.path()).unwrap();
        // Process 1 always lives: what counts is the lock, not the number.
        let dead = parent.path().join("allotment-1-0123456789abcdef");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("segment-00"), b"left").unwrap();
        for other in ["allotment-1-tooshort", "allotment-x-0123456789abcdef", "notes"] {
            std::fs::create_dir(parent.path().join(other)).unwrap();
        }
        let second = Directory::create(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(live.path().exists() && second.path().exists());
        assert_eq!(names_in(parent.path()).len(), 5);
    }

    #[test]
    fn processes_that_start_at_once_do_not_sweep_each_other() {
        // Locks belong to open files, not to processes, so threads race for them just as processes do.
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let directory = Directory::create(parent.path()).unwrap();
                        directory.create_file().expect("the directory is still there");
                    }
                });
            }
        });
        assert!(names_in(parent.path()).is_empty());
    }

    #[test]
    fn a_link_with_our_name_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("segment-00"), b"precious").unwrap();
        let link = parent.path().join("allotment-1-0123456789abcdef");
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        let _directory = Directory::create(parent.path()).unwrap();
        assert!(elsewhere.path().join("segment-00").exists());
        assert!(link.is_symlink(), "a link is not ours to remove");
    }
}
