"""The roster: a CSV file with a line for each student, as spreadsheets and Classroom 50 write it."""

import csv
import difflib
import io
import re
from dataclasses import dataclass

from classroom import Refused

LOGIN = ("username", "github_id")
NAME = ("first_name", "last_name")
NOT_USED = {"email", "section", "role"}  # of Classroom 50, which nothing here needs
BOTH_ALPHABETS = re.compile(r"[^\W\d_]*([A-Za-z][А-Яа-яЁё]|[А-Яа-яЁё][A-Za-z])")


@dataclass
class Line:
    """One student. number: the line of the file, from 1; values: {column: text}, without the empty ones."""

    number: int
    values: dict

    def answers(self, questions):
        """Return ({question: text} that its columns say, {question: text} that follows from them)."""
        said = {column: text for column, text in self.values.items() if column in questions}
        login = self.values.get(self.login)
        author = " ".join(filter(None, map(self.values.get, NAME))) or login
        follows = {"repo_name": login, "github_owner": login, "author_name": author}
        return said, {question: text for question, text in follows.items() if text and question in questions}

    @property
    def login(self):
        """Return the column that has the name on GitHub, None without one."""
        if "username" in self.values:
            return "username"
        # Classroom 50 keeps the account's number there.
        return None if self.values.get("github_id", "0").isdigit() else "github_id"


def decode(content, words, file):
    """Return the text of a file and whether it was taken for cp1251. Raises Refused."""
    try:
        return content.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        try:
            text = content.decode("cp1251")
        except UnicodeDecodeError:
            text = "\0"
    if "\0" in text:
        raise Refused(words["encoding"].format(file=file))
    return text, True


def doubt(words, file, line, column, what, cure):
    """Return the sentence about one place; column: its name, "" for the whole line."""
    where = words["in_column"].format(column=column) if column else ""
    return words["doubtful"].format(file=file, line=line, column=where, what=what, cure=cure)


def read(file, questions, words):
    """Return ([Line], remarks, doubts): doubts are sentences, each about one place. Raises Refused, OSError."""
    text, old_encoding = decode(file.read_bytes(), words, file)
    first = re.split("[\r\n]", text.lstrip(), maxsplit=1)[0]
    named = re.match("(?i)sep=([,;\t])[\r\n]", text)  # as Excel reads it
    delimiter = named[1] if named else max(",;\t", key=first.count)
    # Line ends stay as they are: csv knows all of them, also within quotation marks.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns, lines, pending, doubts, end = None, [], [], [], 0
    if named:
        next(reader)
        end = reader.line_num

    def add(column, what, cure):
        doubts.append(doubt(words, file, start, column, what, cure))

    while True:
        start = end + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            if most := re.search(r"field limit \((\d+)\)", str(error)):
                add("", words["long"].format(most=most[1]), words["long_cure"])
            else:
                add("", words["quotes"], words["quotes_cure"])
            break
        end = reader.line_num
        if row is None:
            break
        row = [cell.strip() for cell in row]
        if not any(row):
            continue
        if columns is None:
            columns = [name.lower() for name in row]
            check_columns(columns, questions, words, add)
            continue
        if len(row) != len(columns):
            add("", words["cells"].format(count=len(row), columns=len(columns)), words["cells_cure"])
            continue
        line = Line(start, {column: cell for column, cell in zip(columns, row, strict=True) if cell})
        if not line.login and "repo_name" not in line.values and "email" in line.values:
            pending.append(str(start))
            continue
        lines.append(line)
        if not line.login and "repo_name" not in line.values:
            column = next((c for c in ("repo_name", *LOGIN) if c in columns), columns[0])
            add(column, words["nobody"], words["nobody_cure"])
        for column, cell in line.values.items() if old_encoding else ():
            if BOTH_ALPHABETS.match(cell):
                add(column, words["alphabets"].format(value=cell), words["alphabets_cure"])
    if not lines and not pending and not doubts:
        raise Refused(words["no_lines"].format(file=file))
    remarks = [words["cp1251"].format(file=file)] if old_encoding else []
    if pending:  # invited by email, and not there yet
        remarks.append(words["pending"].format(lines=", ".join(pending)))
    known = {*questions, *LOGIN, *NAME, *NOT_USED}
    if unused := [column for column in columns or () if column not in known]:
        remarks.append(words["unused"].format(columns=", ".join(map(repr, unused))))
    return lines, remarks, doubts


def check_columns(columns, questions, words, add):
    """Tell what is wrong with the names of the columns."""
    known = [*questions, *LOGIN, *NAME]
    if not set(columns) & {"repo_name", *LOGIN}:
        add("", words["no_column"], words["no_column_cure"])
    for number, column in enumerate(columns):
        near = difflib.get_close_matches(column, known, n=1, cutoff=0.8)
        if column and column in columns[:number]:
            add(column, words["twice"], words["twice_cure"])
        elif near and column not in {*known, *NOT_USED}:
            add(column, words["unknown"], words["unknown_cure"].format(near=near[0]))
