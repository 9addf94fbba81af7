"""The words that agent files use: keys, tools, colours, efforts."""

from __future__ import annotations

DOCUMENTED = (
    "name",
    "description",
    "tools",
    "disallowedTools",
    "model",
    "effort",
    "maxTurns",
    "permissionMode",
    "skills",
    "mcpServers",
    "hooks",
    "memory",
    "background",
    "isolation",
    "initialPrompt",
    "color",
)
"""Keys that Claude Code documents for its agents."""

FOREIGN = (
    *("allowed-tools", "allowedTools", "argument-hint", "author", "capabilities", "category"),
    *("displayName", "domain", "emoji", "handoffs", "infer", "license", "mcp-servers", "metadata"),
    *("mode", "permission", "priority", "proactive", "source", "specialization", "tags"),
    *("target", "temperature", "title", "triggers", "type", "user-invocable", "version", "vibe"),
    *("disable-model-invocation", "omitClaudeMd", "autoCompactWindow"),
)
"""Keys of other programs' agent files: they are read past, and mean nothing here."""

FLAT_KEYS = (*DOCUMENTED[:6], "color", "memory", "permissionMode", "maxTurns", "version")
"""Keys by which a header that was joined to one line is taken apart."""

TEXT_KEYS = frozenset(
    {"name", "description", "tools", "disallowedTools", "model", "color", "effort", "maxTurns"}
    | {"memory", "initialPrompt", "background", "isolation", *FOREIGN}
) - {"permission", "mcp-servers", "handoffs"}
"""Keys whose value may be taken as the text that it is, where it is not YAML."""

TOOLS = ("Read", "Write", "Edit", "Bash", "Grep", "Glob")
"""The tools that this runtime has."""

ELSEWHERE = frozenset(
    {"Agent", "Skill", "WebFetch", "WebSearch", "NotebookEdit", "TodoWrite", "ToolSearch"}
    | {"TaskStop", "TaskCreate", "TaskUpdate", "TaskGet", "TaskList", "Monitor", "SendMessage"}
    | {"AskUserQuestion", "EnterPlanMode", "ExitPlanMode", "EnterWorktree", "ExitWorktree"}
    | {"CronCreate", "CronDelete", "CronList", "LSP", "PowerShell", "Workflow", "ReportFindings"}
    | {"ListMcpResourcesTool", "ReadMcpResourceTool", "ScheduleWakeup", "ListAgents"}
)
"""Tools that Claude Code has and this runtime has not."""

RENAMED = {
    "Task": "Agent",
    "MultiEdit": "Edit",
    "LS": "Glob",
    "NotebookRead": "Read",
    "TodoRead": "TodoWrite",
    "BashOutput": "Read",
    "KillShell": "Bash",
    "KillBash": "Bash",
}
"""Tools that were removed, and what took their place; they are not put in their place here."""

COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "pink", "cyan")
EFFORTS = ("low", "medium", "high", "xhigh", "max")


def nearest(word: str, known: tuple[str, ...] | frozenset[str]) -> str:
    """Return `` (did you mean ...?)`` for a word that is nearly a known one, else nothing."""
    import difflib

    lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.75)
    return f"; did you mean {lower[found[0]]!r}?" if found else ""
