//! Records as an Apache Parquet file: the columns by their names, JSON as text, `feedback` and `labels` as lists of groups.

mod read;
mod write;

pub(super) use read::{Reader, is_parquet};
pub(super) use write::Writer;

use super::{FEEDBACK, Kind, LABELS, OUTCOMES, Table};

/// The nested tables, by the names that their columns have.
const NESTED: [(&str, Table); 2] = [("feedback", FEEDBACK), ("labels", LABELS)];

/// The schema, as Parquet writes schemas down.
fn schema() -> String {
    let mut text = String::from("message outcomes {\n");
    fields(&mut text, OUTCOMES);
    for (name, table) in NESTED {
        text += &format!(
            "required group {name} (LIST) {{ repeated group list {{ required group element {{\n"
        );
        fields(&mut text, table);
        text += "} } }\n";
    }
    text + "}"
}

fn fields(text: &mut String, table: Table) {
    for column in table {
        let repetition = if column.required {
            "required"
        } else {
            "optional"
        };
        let name = column.name;
        *text += &match column.kind {
            Kind::Whole => format!("{repetition} int64 {name};\n"),
            Kind::Number => format!("{repetition} double {name};\n"),
            Kind::Truth => format!("{repetition} boolean {name};\n"),
            Kind::Text | Kind::Json => format!("{repetition} binary {name} (UTF8);\n"),
        };
    }
}
