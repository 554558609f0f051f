//! Takes from Swagger UI's archive the files that the documentation page uses, and compresses them for the way.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{self, Cursor};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

const FILES: [&str; 3] = [
    "favicon-32x32.png",
    "swagger-ui-bundle.js",
    "swagger-ui.css",
];

#[expect(
    clippy::disallowed_methods,
    reason = "cargo's own variable, not a setting of the service"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = std::env::var("OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let mut missing: BTreeSet<&str> = BTreeSet::from(FILES);
    for index in 0..archive.len() {
        let mut packed = archive.by_index(index)?;
        let path = packed.name()?.into_owned();
        // Everything is in a folder with the version in its name.
        let path = path.split_once('/').map_or("", |(_, path)| path);
        let Some(file) = FILES
            .into_iter()
            .find(|file| path == format!("dist/{file}"))
        else {
            continue;
        };
        let mut compressed = GzBuilder::new().write(Vec::new(), Compression::best());
        io::copy(&mut packed, &mut compressed)?;
        fs::write(
            Path::new(&folder).join(format!("{file}.gz")),
            compressed.finish()?,
        )?;
        missing.remove(file);
    }
    if !missing.is_empty() {
        return Err(format!("Swagger UI has no {missing:?}").into());
    }
    Ok(())
}
