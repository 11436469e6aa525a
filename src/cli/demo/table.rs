//! The table of the demo.

use super::scene::Row;

const HEADS: [&str; 5] = [
    "the program called",
    "it sent",
    "Amazon received",
    "answer",
    "why",
];

/// Draws the rows in columns; a surprise follows its row.
pub(super) fn draw(rows: &[Row]) -> String {
    let cells: Vec<[&str; 5]> = rows
        .iter()
        .map(|row| {
            [
                &*row.call,
                &*row.sent,
                &*row.received,
                &*row.answer,
                &*row.why,
            ]
        })
        .collect();
    let mut widths = HEADS.map(width);
    for line in &cells {
        for (most, cell) in widths.iter_mut().zip(line) {
            *most = width(cell).max(*most);
        }
    }
    let mut text = line(&HEADS, &widths);
    text.push_str(&line(
        &widths
            .map(|width| "─".repeat(width))
            .each_ref()
            .map(String::as_str),
        &widths,
    ));
    for (row, cells) in rows.iter().zip(&cells) {
        text.push_str(&line(cells, &widths));
        if let Some(surprise) = &row.surprise {
            text.push_str("  SURPRISE: ");
            text.push_str(surprise);
            text.push('\n');
        }
    }
    text
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

fn line(cells: &[&str; 5], widths: &[usize; 5]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, most)| format!("{cell}{}", " ".repeat(most.saturating_sub(width(cell)))))
        .collect();
    format!("{}\n", padded.join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_a_surprise_stands_out() {
        let row = |call: &str, surprise: Option<&str>| Row {
            call: call.to_owned(),
            sent: "a".to_owned(),
            received: "b".to_owned(),
            answer: "200".to_owned(),
            why: "c".to_owned(),
            surprise: surprise.map(str::to_owned),
        };
        let text = draw(&[
            row("short", None),
            row("a call that is much longer", Some("wanted 403")),
        ]);
        let lines: Vec<&str> = text.lines().collect();
        let column = |line: &str| {
            line.find("  a  ")
                .or_else(|| line.find("  it sent"))
                .unwrap()
        };
        assert_eq!(column(lines[2]) > 0, column(lines[0]) > 0);
        assert_eq!(lines[4], "  SURPRISE: wanted 403");
    }
}
