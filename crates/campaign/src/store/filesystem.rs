//! What kind of filesystem a folder is on.

use nix::sys::statfs::statfs;
use std::path::Path;

/// Filesystems that other machines, or a program of the user, may stand behind, by the numbers that Linux
/// gives them (`statfs(2)`, and the sources of those outside the kernel).
const SHARED: [(u32, &str); 19] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x00c3_6400, "CephFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0xaad7_aaea, "PanFS"),
    (0x2003_0528, "OrangeFS"),
    (0x564c, "NCP"),
    (0x786f_4256, "a folder of VirtualBox"),
];

/// Names the filesystem that a path is on where processes of other machines may use it too; `None` of one
/// that is this machine's alone, or of which nothing is known.
///
/// There SQLite's write-ahead log is not safe: its index is memory that processes share, which two
/// machines cannot (<https://sqlite.org/wal.html>).
pub fn shared_filesystem(path: &Path) -> Option<&'static str> {
    name(statfs(path).ok()?.filesystem_type().0 as u32)
}

fn name(number: u32) -> Option<&'static str> {
    let found = SHARED.iter().find(|(known, _)| *known == number);
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::statfs::{
        EXT4_SUPER_MAGIC, FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, TMPFS_MAGIC,
    };

    #[test]
    fn filesystems_that_machines_share_are_known() {
        for (magic, expected) in [
            (NFS_SUPER_MAGIC, Some("NFS")),
            (SMB_SUPER_MAGIC, Some("SMB")),
            (FUSE_SUPER_MAGIC, Some("FUSE")),
            (EXT4_SUPER_MAGIC, None),
            (TMPFS_MAGIC, None),
        ] {
            assert_eq!(name(magic.0 as u32), expected);
        }
        // Processes are this machine's.
        assert_eq!(shared_filesystem(Path::new("/proc")), None);
        assert_eq!(shared_filesystem(Path::new("/nowhere")), None);
    }
}
