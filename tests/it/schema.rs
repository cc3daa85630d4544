//! `leveret schema` prints the schemas that are kept in `config/`.

use std::path::Path;
use std::process::Command;

#[test]
fn the_kept_schemas_are_printed() {
    for (file, kept) in [("node", "leveret.schema.json"), ("routes", "routes.schema.json")] {
        let printed =
            Command::new(env!("CARGO_BIN_EXE_leveret")).args(["schema", file]).output().unwrap();
        assert!(printed.status.success(), "{printed:?}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(kept);
        let kept = std::fs::read(path).unwrap();
        assert!(printed.stdout == kept, "leveret schema {file} prints something else");
    }
}
