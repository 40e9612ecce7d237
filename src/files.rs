//! Files that are whole or not there: written beside their place, flushed, and renamed into it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Files that this process has begun to write.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// The file that a path names: where it is a link, what that leads to, so that the link stays one.
pub(crate) fn behind_links(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_absent| path.to_owned())
}

/// Writes `bytes` to `path` in place of what is there; whoever reads the path finds the old file or the new one.
///
/// # Errors
/// The folder cannot be made or the file cannot be written; what was there before is then still there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &behind_links(path);
    if is_stream(path) {
        return fs::write(path, bytes);
    }
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let mut scratch = path.as_os_str().to_owned();
    scratch.push(scratch_ending());
    let scratch = Path::new(&scratch);
    let written = File::create(scratch).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(scratch, path)?;
        File::open(folder)?.sync_all()
    });
    if written.is_err() {
        // The first error is the one to report.
        fs::remove_file(scratch).ok();
    }
    written
}

/// Whether there is something that is neither a file nor a folder: a pipe, a device. Such a thing is written to as it is.
pub(crate) fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// The ending of a name that no other write has, of this process or of another.
fn scratch_ending() -> String {
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    format!(".{}-{number}.part", process::id())
}

fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// The same as [`make_room`] for one file.
///
/// # Errors
/// It cannot be written.
pub(crate) fn make_room_for(path: &Path) -> io::Result<()> {
    let path = &behind_links(path);
    match is_stream(path) {
        true => Ok(()),
        false => make_room(folder_of(path)),
    }
}

/// Makes the folder, and sees whether files can be written there: what takes minutes to make had better find that out
/// before.
///
/// # Errors
/// They cannot.
pub(crate) fn make_room(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let scratch = folder.join(scratch_ending());
    fs::write(&scratch, [])?;
    fs::remove_file(&scratch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        write_whole(&path, b"first").unwrap();
        write_whole(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn threads_that_write_one_file_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let path = &folder.path().join("file");
        std::thread::scope(|scope| {
            for byte in 0..8 {
                scope.spawn(move || (0..20).for_each(|_| write_whole(path, &[byte; 99]).unwrap()));
            }
        });
        let whole = fs::read(path).unwrap();
        assert_eq!(whole, [whole[0]; 99]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        fs::write(&file, b"first").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write_whole(&link, b"second").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"second");
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write_whole(&folder.path().join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        make_room(&folder.path().join("new")).unwrap();
        fs::write(folder.path().join("plain"), "").unwrap();
        for taken in ["plain", "plain/below"] {
            assert!(make_room(&folder.path().join(taken)).is_err());
        }
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
    }
}
