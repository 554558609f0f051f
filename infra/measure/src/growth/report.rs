//! The tables that are printed.

use std::time::Duration;

use super::{CleanupRow, Cost, Row};

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// One of the costs of a row.
type Of = fn(&Row) -> Cost;

pub(super) fn print_rows(rows: &[Row]) {
    println!(
        "\n| sessions in the table | of the user | request | median, ms | p95, ms | read units | write units | median \
         against the smallest table |\n|---|---|---|---|---|---|---|---|"
    );
    let kinds: [(&str, Of); 3] = [
        ("refresh", |row| row.refresh),
        ("list", |row| row.list),
        ("sign-in, with argon2", |row| row.sign_in),
    ];
    for (name, cost) in kinds {
        for row in rows {
            let first = rows.iter().find(|one| one.sessions == row.sessions);
            let first = first.map_or(1.0, |first| millis(cost(first).median));
            let cost = cost(row);
            println!(
                "| {} | {} | {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                row.size,
                row.sessions,
                millis(cost.median),
                millis(cost.p95),
                cost.read_units,
                cost.write_units,
                millis(cost.median) / first,
            );
        }
    }
}

pub(super) fn print_cleanups(cleanups: &[CleanupRow]) {
    // us-east-1, on demand.
    const READ_PRICE: f64 = 0.125e-6;
    const WRITE_PRICE: f64 = 0.625e-6;
    println!(
        "\n| sessions in the table | items | file, MB | due | removed | seconds | read units | write units | dollars a run | \
         reading, dollars a run for a million sessions |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for row in cleanups {
        let reading = row.read_units * READ_PRICE;
        println!(
            "| {} | {} | {:.0} | {} | {} | {:.1} | {:.0} | {:.0} | {:.5} | {:.4} |",
            row.size,
            row.items,
            row.megabytes,
            row.due,
            row.removed,
            row.seconds,
            row.read_units,
            row.write_units,
            reading + row.write_units * WRITE_PRICE,
            reading * 1e6 / row.size as f64,
        );
    }
}
