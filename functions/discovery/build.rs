//! Makes what this function would otherwise have to make at every start or for every request: the compressed files of
//! the documentation page, the compressed OpenAPI document, and the table of the routes that the document names.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde_json::Value;
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
    println!("cargo::rerun-if-changed=openapi.json");
    let folder = std::env::var("OUT_DIR")?;
    let folder = Path::new(&folder);
    take_swagger_ui(folder)?;
    let document = fs::read("openapi.json")?;
    compress(&mut document.as_slice(), &folder.join("openapi.json.gz"))?;
    fs::write(folder.join("routes.rs"), routes(&document)?)?;
    Ok(())
}

/// Takes the files of the page from Swagger UI's archive.
fn take_swagger_ui(folder: &Path) -> Result<(), Box<dyn Error>> {
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
        compress(&mut packed, &folder.join(format!("{file}.gz")))?;
        missing.remove(file);
    }
    if !missing.is_empty() {
        return Err(format!("Swagger UI has no {missing:?}").into());
    }
    Ok(())
}

fn compress(file: &mut impl Read, target: &Path) -> Result<(), Box<dyn Error>> {
    let mut compressed = GzBuilder::new().write(Vec::new(), Compression::best());
    io::copy(file, &mut compressed)?;
    fs::write(target, compressed.finish()?)?;
    Ok(())
}

/// The methods that this service uses, in the order in which `Allow` names them.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Rust for an array of pairs: a path of the document, and its methods as `Allow` names them.
fn routes(document: &[u8]) -> Result<String, Box<dyn Error>> {
    let document: Value = serde_json::from_slice(document)?;
    let paths = document.get("paths").and_then(Value::as_object);
    let paths = paths.ok_or("no paths")?;
    let mut rows = String::new();
    for (path, item) in paths {
        let methods: Vec<String> = METHODS
            .iter()
            .filter(|method| item.get(*method).is_some())
            .map(|method| method.to_ascii_uppercase())
            .collect();
        rows.push_str(&format!("({path:?}, {:?}),\n", methods.join(",")));
    }
    Ok(format!("[\n{rows}]"))
}
