//! A real OpenBao server that a guest can reach.

use anyhow::Result;
use servers::{Bao, BaoOptions};

use crate::job::Job;
use crate::link::{Link, SERVER, SERVER_PORT};
use crate::payload;

/// The name of the authority's certificate among the files of a guest.
const AUTHORITY: &str = "bao-authority.pem";

/// Starts a server for this job alone, and tells its program where it is. It runs as long as the
/// value lives.
pub(crate) fn give(job: &mut Job) -> Result<Bao> {
    let bao = Bao::start(&BaoOptions {
        names: vec![SERVER.to_string()],
        ..BaoOptions::default()
    })?;
    job.links.push(Link::to_server(bao.port()));
    job.files.push((bao.authority_file(), AUTHORITY.to_owned()));
    job.env(
        "HELIX_BAO_ADDRESS",
        format!("https://{SERVER}:{SERVER_PORT}"),
    );
    job.env(
        "HELIX_BAO_AUTHORITY",
        format!("/{}/{AUTHORITY}", payload::WORK),
    );
    job.env("HELIX_BAO_TOKEN", bao.root_token());
    Ok(bao)
}
