"""Sources that read data sets of the Hugging Face hub, or whatever else the `datasets` library can open."""

from collections.abc import Iterator

from lit_rlvr.data.mapping import ConversationFields, PromptFields, conversation_from_row, prompt_from_row
from lit_rlvr.data.rows import Row
from lit_rlvr.data.sources import ConversationSource, PromptSource, examples_from_rows
from lit_rlvr.types import Conversation, Prompt


def read_hub_rows(
    name: str, split: str, config: str | None = None, data_files: str | list[str] | None = None, revision: str | None = None
) -> Iterator[Row]:
    """Yield the rows of one split, with places such as `openai/gsm8k[train]:17`, rows counted from 1.

    Raises:
        FileNotFoundError: when `datasets` knows no such data set.
        ValueError: when the split or configuration does not exist, or the split is empty.
        ImportError: without the extra `lit_rlvr[data]`.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(f"{name}: reading a hub data set needs datasets: pip install 'lit_rlvr[data]'") from error
    table = datasets.load_dataset(name, config, split=split, data_files=data_files, revision=revision)
    number = 0
    for number, values in enumerate(table, start=1):
        yield Row(values, f"{name}[{split}]:{number}")
    if number == 0:
        raise ValueError(f"{name}[{split}] holds no rows")


class PromptHub(PromptSource):
    """Prompts of a Hugging Face data set: from the hub, from a local folder, or through a format such as `json`.

    Args:
        name: a hub name, a local folder, or a format of the `datasets` library together with `data_files`.
        split: `train`, `test`, or a slice such as `train[:100]`.
        config: the data set's configuration, where it has several (`main` for `openai/gsm8k`).
        data_files: only these files, as paths, URLs or patterns.
        revision: a branch, tag or commit of the hub's repository.
        fields: which columns to read.
        system: a system message before every prompt; empty for none.
        source: the data set's name, for metrics by source; None takes `name`.
        limit: at most this many rows, from the first on; None takes all.
    """

    def __init__(
        self,
        name: str,
        split: str = "train",
        config: str | None = None,
        data_files: str | list[str] | None = None,
        revision: str | None = None,
        fields: PromptFields = PromptFields(),  # noqa: B008 - frozen
        system: str = "",
        source: str | None = None,
        limit: int | None = None,
    ) -> None:
        self.name, self.split, self.config, self.data_files, self.revision = name, split, config, data_files, revision
        self.fields, self.system, self.limit = fields, system, limit
        self.source = name if source is None else source

    def load(self) -> list[Prompt]:
        """Read the split.

        Raises:
            FileNotFoundError: when there is no such data set.
            ValueError: naming row and column of a row that is not a prompt, or both places of a repeated id.
        """
        return examples_from_rows(
            read_hub_rows(self.name, self.split, self.config, self.data_files, self.revision),
            lambda row, number: prompt_from_row(row, self.fields, number, self.system, self.source),
            self.limit,
        )


class ConversationHub(ConversationSource):
    """Supervised examples of a Hugging Face data set: from the hub, from a local folder, or through a format such as `json`.

    Args:
        name: a hub name, a local folder, or a format of the `datasets` library together with `data_files`.
        split: `train`, `test`, or a slice such as `train[:100]`.
        config: the data set's configuration, where it has several.
        data_files: only these files, as paths, URLs or patterns.
        revision: a branch, tag or commit of the hub's repository.
        fields: which columns to read.
        system: a system message before every prompt; empty for none.
        source: the data set's name; None takes `name`.
        limit: at most this many rows, from the first on; None takes all.
    """

    def __init__(
        self,
        name: str,
        split: str = "train",
        config: str | None = None,
        data_files: str | list[str] | None = None,
        revision: str | None = None,
        fields: ConversationFields = ConversationFields(),  # noqa: B008 - frozen
        system: str = "",
        source: str | None = None,
        limit: int | None = None,
    ) -> None:
        self.name, self.split, self.config, self.data_files, self.revision = name, split, config, data_files, revision
        self.fields, self.system, self.limit = fields, system, limit
        self.source = name if source is None else source

    def load(self) -> list[Conversation]:
        """Read the split.

        Raises:
            FileNotFoundError: when there is no such data set.
            ValueError: naming row and column of a row that is not an example, or both places of a repeated id.
        """
        return examples_from_rows(
            read_hub_rows(self.name, self.split, self.config, self.data_files, self.revision),
            lambda row, number: conversation_from_row(row, self.fields, number, self.system, self.source),
            self.limit,
        )
