"""Sources that read JSON-lines and Parquet files."""

from pathlib import PurePosixPath

from lit_rlvr.data.mapping import ConversationFields, PromptFields, conversation_from_row, prompt_from_row
from lit_rlvr.data.rows import read_rows
from lit_rlvr.data.sources import ConversationSource, PromptSource, examples_from_rows
from lit_rlvr.types import Conversation, Prompt


class PromptFile(PromptSource):
    """Prompts of JSON-lines or Parquet files.

    Args:
        path: any fsspec path or URL, globs allowed: `.jsonl`, `.ndjson` or `.json` with one object a line (also compressed),
            or `.parquet`.
        fields: which columns to read.
        system: a system message before every prompt; empty for none.
        source: the data set's name, for metrics by source; None takes the file's name without its endings.
        limit: at most this many rows, from the first on; None takes all.
    """

    def __init__(
        self,
        path: str,
        fields: PromptFields = PromptFields(),  # noqa: B008 - frozen
        system: str = "",
        source: str | None = None,
        limit: int | None = None,
    ) -> None:
        self.path, self.fields, self.system, self.limit = path, fields, system, limit
        self.source = _name_without_endings(path) if source is None else source

    def load(self) -> list[Prompt]:
        """Read the files.

        Raises:
            FileNotFoundError: when nothing matches the path.
            ValueError: naming file, row and column of a row that is not a prompt, or both places of a repeated id.
        """
        return examples_from_rows(
            read_rows(self.path),
            lambda row, number: prompt_from_row(row, self.fields, number, self.system, self.source),
            self.limit,
        )


class ConversationFile(ConversationSource):
    """Supervised examples of JSON-lines or Parquet files.

    Args:
        path: any fsspec path or URL, globs allowed: `.jsonl`, `.ndjson` or `.json` with one object a line (also compressed),
            or `.parquet`.
        fields: which columns to read.
        system: a system message before every prompt; empty for none.
        source: the data set's name; None takes the file's name without its endings.
        limit: at most this many rows, from the first on; None takes all.
    """

    def __init__(
        self,
        path: str,
        fields: ConversationFields = ConversationFields(),  # noqa: B008 - frozen
        system: str = "",
        source: str | None = None,
        limit: int | None = None,
    ) -> None:
        self.path, self.fields, self.system, self.limit = path, fields, system, limit
        self.source = _name_without_endings(path) if source is None else source

    def load(self) -> list[Conversation]:
        """Read the files.

        Raises:
            FileNotFoundError: when nothing matches the path.
            ValueError: naming file, row and column of a row that is not an example, or both places of a repeated id.
        """
        return examples_from_rows(
            read_rows(self.path),
            lambda row, number: conversation_from_row(row, self.fields, number, self.system, self.source),
            self.limit,
        )


def _name_without_endings(path: str) -> str:
    return PurePosixPath(path).name.split(".")[0]
