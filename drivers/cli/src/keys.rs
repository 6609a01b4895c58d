//! Where the secret key is, and the commands `keygen` and `id`.

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use egtp::Identity;
use egtp_services::{KeyFileError, key_file};

use crate::output::Streams;
use crate::trouble::Trouble;

/// `egtp keygen`
pub(crate) fn keygen(path: Option<&Path>, streams: &Streams) -> Result<(), Trouble> {
    let identity = match path {
        Some(path) => key_file::create(path).map_err(trouble)?,
        None => create_default(&default_path()?)?,
    };
    streams.stdout.send(format!("{}\n", identity.node_id()));
    Ok(())
}

/// `egtp id`
pub(crate) fn id(path: Option<&Path>, streams: &Streams) -> Result<(), Trouble> {
    let path = path.map_or_else(default_path, |path| Ok(path.into()))?;
    let identity = load(&path)?;
    streams.stdout.send(format!("{}\n", identity.node_id()));
    Ok(())
}

/// The identity to serve with, and the file that holds it. Without a name it is the default one, which is made on first use.
pub(crate) fn load_or_create(path: Option<&Path>, streams: &Streams) -> Result<(Identity, PathBuf), Trouble> {
    if let Some(path) = path {
        return Ok((load(path)?, path.into()));
    }
    let path = default_path()?;
    let identity = match key_file::load(&path) {
        Err(KeyFileError::Missing(_)) => {
            let identity = create_default(&path)?;
            streams.stderr.say(&format!("made a new identity, {}, in {}", identity.node_id(), path.display()));
            identity
        }
        loaded => loaded.map_err(trouble)?,
    };
    Ok((identity, path))
}

/// The identity in a file that was named.
pub(crate) fn load(path: &Path) -> Result<Identity, Trouble> {
    key_file::load(path).map_err(trouble)
}

fn trouble(error: KeyFileError) -> Trouble {
    Trouble::local("--key", error)
}

fn create_default(path: &Path) -> Result<Identity, Trouble> {
    if let Some(directory) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| {
            let why = format!("the directory {} cannot be made: {error}: name a key file", directory.display());
            Trouble::local("--key", why)
        })?;
    }
    key_file::create(path).map_err(trouble)
}

/// As the XDG Base Directory Specification has it: a relative path in the variable is to be ignored.
fn default_path() -> Result<PathBuf, Trouble> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("egtp/key"))
        .ok_or_else(|| Trouble::local("--key", "there is no home directory to keep a key in: name a key file"))
}
