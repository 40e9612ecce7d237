//! What a server opens at its start, looked into beforehand: nothing is made, nothing changed, and no database opened.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::Check;
use crate::{
    causes::in_full,
    config::{FeatureKind, document::Place, raw},
    instruction::blend::{Blend, BlendError},
    router::{artefact::Artefact, static_encoder::StaticEncoder},
};

/// How deep a check looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Depth {
    /// At what is written, and whether the files are there that every command needs.
    Named,
    /// Into the files too that a server opens.
    Opened,
}

/// What every SQLite file begins with.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// What libraries begin with: ELF, Mach-O (either order of bytes, and several in one), PE.
const LIBRARIES: [&[u8]; 6] = [
    b"\x7fELF",
    b"\xcf\xfa\xed\xfe",
    b"\xfe\xed\xfa\xcf",
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
    b"MZ",
];

/// The store's file: a database, or a place where one can be made.
pub(super) fn store(path: &Path, place: Place<'_>, check: &mut Check<'_>) {
    if check.depth == Depth::Named {
        return;
    }
    let wrong = match beginning(path) {
        Ok(bytes) if bytes.is_empty() || bytes == SQLITE => return,
        Ok(_) => "is no SQLite database".to_owned(),
        Err(_) if path.is_dir() => "is a folder".to_owned(),
        Err(error) if is_absent(&error) => match path.parent().and_then(unmakeable) {
            Some(wrong) => format!("cannot be made: {wrong}"),
            None => return,
        },
        Err(error) => format!("cannot be read: {error}"),
    };
    let message = format!("the store `{}` {wrong}", path.display());
    let help =
        "name another file, such as `sqlite://data/coterie.db`; it is made where there is none";
    check.wrong(place, message, help);
}

/// What `router` names, the encoder aside. `static_encoder`: the folder, where one is named.
pub(super) fn router(
    raw: &raw::Router,
    static_encoder: Option<&Path>,
    place: Place<'_>,
    check: &mut Check<'_>,
) {
    if check.depth == Depth::Named {
        return;
    }
    let artefacts = Path::new(&raw.artefacts);
    // One that is there may well be one that nobody writes in: what is served may lie in it already.
    if !artefacts.is_dir()
        && let Some(wrong) = unmakeable(artefacts)
    {
        let message = format!("the folder `{}` cannot be made: {wrong}", raw.artefacts);
        let help = "name a folder for trained routers, such as `data/routers`";
        check.wrong(place.at("artefacts"), message, help);
    }
    if let Some(folder) = &raw.artefact {
        if let Err(error) = Artefact::read(Path::new(folder)) {
            let message = if error.is_absent() {
                format!("there is no router in `{folder}`")
            } else {
                format!(
                    "the router in `{folder}` cannot be used: {}",
                    in_full(&error)
                )
            };
            let help = "name a folder that `coterie train --out` wrote, or leave `artefact` out";
            check.wrong(place.at("artefact"), message, help);
        }
    } else if raw.features.contains(&FeatureKind::Static)
        && let Some(folder) = static_encoder
        && let Err(error) = StaticEncoder::open(folder)
    {
        let message = format!(
            "the static encoder in `{}` cannot be used: {}",
            folder.display(),
            in_full(&error)
        );
        let help =
            "name a folder that `coterie encoder distill` wrote, or leave `static_encoder` out";
        check.wrong(place.at("static_encoder"), message, help);
    }
}

/// The ONNX Runtime library. Whether it is one that can be used is found out when it is loaded.
pub(super) fn library(path: &Path, place: Place<'_>, check: &mut Check<'_>) {
    if check.depth == Depth::Named {
        return;
    }
    let wrong = match beginning(path) {
        Ok(bytes) if LIBRARIES.iter().any(|magic| bytes.starts_with(magic)) => return,
        Ok(_) => "is no library".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    let message = format!("the ONNX Runtime library `{}` {wrong}", path.display());
    let help = "`scripts/models onnxruntime` brings it; or name a library of your own here or in ORT_DYLIB_PATH";
    check.wrong(place, message, help);
}

/// What was learnt of an expert's word: there may be none yet.
pub(super) fn blend(path: &Path, place: Place<'_>, check: &mut Check<'_>) {
    if check.depth == Depth::Named {
        return;
    }
    match Blend::read(path) {
        Ok(_) => {}
        Err(BlendError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        // It says itself what to do.
        Err(error) => check.mistakes.add(place, in_full(&error), None),
    }
}

/// The first bytes of a file, as many as tell what it is.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = SQLITE.len() as u64;
    File::open(path)?.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Why nothing can be made in a folder, itself included, as far as that can be seen without trying.
fn unmakeable(folder: &Path) -> Option<String> {
    let mut above = folder.ancestors();
    let (path, there) = above.find_map(|path| Some((path, fs::metadata(path).ok()?)))?;
    if !there.is_dir() {
        return Some(format!("`{}` is no folder", path.display()));
    }
    let nobody_writes = there.permissions().readonly();
    nobody_writes.then(|| format!("nothing may be written in `{}`", path.display()))
}
