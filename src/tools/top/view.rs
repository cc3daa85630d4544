//! The rows on a terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table as Rows, TableState};

use super::model::{Model, Table};

const HELP: &str = " 1 2 3 tables   s sort   / filter   ↑ ↓ move   p pause   q leave ";

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(3), Constraint::Length(1)])
            .areas(frame.area());
    let strong = Style::default().add_modifier(Modifier::REVERSED);
    let mut tabs = vec![Span::raw("leveret top  ")];
    for (number, table) in Table::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ", number + 1, table.name());
        tabs.push(Span::styled(text, if table == model.table { strong } else { Style::default() }));
    }
    if model.is_paused {
        tabs.push(Span::styled("  paused", Style::default().fg(Color::Yellow)));
    }
    let color = if model.is_whole() { Color::Reset } else { Color::Red };
    let told = Line::styled(model.headline(), Style::default().fg(color));
    frame.render_widget(ratatui::text::Text::from(vec![Line::from(tabs), told]), head);

    let rows = model.rows();
    model.selected = model.selected.min(rows.len().saturating_sub(1));
    let heads = model.table.columns().iter().enumerate().map(|(at, head)| {
        let mark = if at == model.sorted { "▾" } else { "" };
        cell(model.table, at, format!("{head}{mark}"))
    });
    let lines = rows.iter().map(|row| {
        let style = if row.is_bad { Style::default().fg(Color::Red) } else { Style::default() };
        let cells = row.cells.iter().enumerate();
        Row::new(cells.map(|(at, text)| cell(model.table, at, text.clone()))).style(style)
    });
    let table = Rows::new(lines, widths(model.table))
        .header(Row::new(heads).style(Style::default().add_modifier(Modifier::BOLD)))
        .row_highlight_style(strong);
    let mut state = TableState::default().with_selected(Some(model.selected));
    frame.render_stateful_widget(table, body, &mut state);

    let foot_text = if model.is_typing || !model.filter.is_empty() {
        format!(" /{}{}", model.filter, if model.is_typing { "▏" } else { "" })
    } else {
        HELP.to_owned()
    };
    frame.render_widget(Line::styled(foot_text, Style::default().fg(Color::DarkGray)), foot);
}

/// A cell: texts to the left, numbers to the right.
fn cell(table: Table, at: usize, text: String) -> Cell<'static> {
    let line = Line::raw(text);
    Cell::from(if is_text(table, at) { line } else { line.right_aligned() })
}

fn is_text(table: Table, at: usize) -> bool {
    at < table.texts() || (table == Table::Routes && at + 1 == table.columns().len())
}

fn widths(table: Table) -> Vec<Constraint> {
    let width = |at: usize| {
        if table == Table::Routes && at == 1 {
            Constraint::Length(8)
        } else if is_text(table, at) {
            Constraint::Fill(1)
        } else {
            Constraint::Length(10)
        }
    };
    (0..table.columns().len()).map(width).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::super::sample::{Route, Sample};
    use super::*;
    use crate::clock;

    fn screen(model: &mut Model, width: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, 8)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer
            .content()
            .chunks(usize::from(width))
            .map(|cells| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_table_is_drawn_as_wide_as_the_terminal_is() {
        let mut model = Model::default();
        let route = Route {
            name: "orders-out".into(),
            state: "failed".into(),
            reason: Some("no exchange 'shop'".into()),
            ..Route::default()
        };
        let sample = Sample { routes: vec![route], nodes: 1, ..Sample::default() };
        model.update(sample, clock::now());
        model.press(KeyCode::Char('3'));
        let text = screen(&mut model, 140);
        assert!(text.contains(" 3 Routes ") && text.contains("1 nodes"), "{text}");
        assert!(text.contains("route▾") && text.contains("no exchange 'shop'"), "{text}");
        assert!(text.contains("q leave"), "{text}");
        for key in ['/', 'x'] {
            model.press(KeyCode::Char(key));
        }
        let text = screen(&mut model, 40);
        assert!(text.contains("/x") && !text.contains("orders-out"), "{text}");
    }
}
