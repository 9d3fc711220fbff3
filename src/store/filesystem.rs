//! What kind of file system a directory is on, and what that means for chunk files.
//!
//! A map is only as good as the disk under it: pages of a RAM file system are memory that nobody budgets, and a map
//! of a network file raises SIGBUS when the server goes away. So RAM is refused, and on a network chunks are copied.

/// A kind of file system, as far as chunk files care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileSystem {
    /// A disk of this machine: chunks are mapped.
    Disk,
    /// Memory (tmpfs, ramfs, hugetlbfs): refused, unless asked for.
    Ram,
    /// A network, a user-space or an unknown file system: chunks are read into memory, never mapped.
    Remote,
}

/// Local disks whose maps behave; an overlay is as good as its upper layer, which is nearly always one of these.
const DISKS: [u64; 11] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x2FC1_2FC1, // zfs
    0xF2F5_2010, // f2fs
    0x794C_7630, // overlay
    0xCA45_1A4E, // bcachefs
    0x5265_4973, // reiserfs
    0x3153_464A, // jfs
    0x3434,      // nilfs
    0x7366_746E, // ntfs3
];

/// Memory that looks like files.
const RAM: [u64; 3] = [
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0x9584_58F6, // hugetlbfs
];

impl FileSystem {
    /// Returns the kind that `statfs` names by this magic number. What is not known counts as remote.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::store::FileSystem;
    /// assert_eq!(FileSystem::from_magic(0xEF53), FileSystem::Disk); // ext4
    /// assert_eq!(FileSystem::from_magic(0x6969), FileSystem::Remote); // NFS
    /// ```
    pub fn from_magic(magic: u64) -> Self {
        // Some systems sign-extend the 32-bit magic number.
        let magic = magic & 0xFFFF_FFFF;
        if DISKS.contains(&magic) {
            FileSystem::Disk
        } else if RAM.contains(&magic) {
            FileSystem::Ram
        } else {
            FileSystem::Remote
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_extended_magic_number_is_still_known() {
        assert_eq!(FileSystem::from_magic(0xFFFF_FFFF_9123_683E), FileSystem::Disk);
        assert_eq!(FileSystem::from_magic(0xFFFF_FFFF_8584_58F6), FileSystem::Ram);
    }

    #[test]
    fn what_is_not_known_is_never_mapped() {
        for magic in [0, 0x6969, 0x517B, 0xFF53_4D42, 0x6573_5546, 0x0102_1997, 0x00C3_6400, 0x0BD0_0BD0, u64::MAX] {
            assert_eq!(FileSystem::from_magic(magic), FileSystem::Remote, "{magic:#x}");
        }
    }
}
