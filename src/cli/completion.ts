// Completion scripts for shells, made from the definitions of the commands: nothing is listed twice.

import type { Argument, Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface Word {
  readonly name: string;
  readonly description: string;
  /** values of the option; empty: anything */
  readonly choices: readonly string[];
  readonly takesValue: boolean;
  readonly takesPath: boolean;
}

interface CommandWords {
  readonly name: string;
  readonly description: string;
  readonly options: readonly Word[];
  /** choices of its arguments */
  readonly choices: readonly string[];
  readonly takesPath: boolean;
}

/** The script that completes `program` in `shell`. */
export function completionScript(program: Command, shell: Shell): string {
  const name = program.name();
  const commands = program.commands.map(commandWords);
  const global = optionWords(program);
  if (shell === "bash") return bash(name, commands, global);
  return shell === "zsh" ? zsh(name, commands, global) : fish(name, commands, global);
}

function commandWords(command: Command): CommandWords {
  const choices = command.registeredArguments.flatMap((argument: Argument) => argument.argChoices ?? []);
  return {
    name: command.name(),
    description: command.description(),
    options: optionWords(command),
    choices,
    takesPath: command.registeredArguments.some(({ argChoices }) => argChoices === undefined),
  };
}

function optionWords(command: Command): Word[] {
  const visible = command.createHelp().visibleOptions(command);
  return visible.flatMap((option: Option) =>
    option.long === undefined
      ? []
      : [
          {
            name: option.long,
            description: option.description,
            choices: option.argChoices ?? [],
            takesValue: option.required || option.optional,
            takesPath: /<file>|<folder>|<path>/.test(option.flags),
          },
        ],
  );
}

function bash(program: string, commands: readonly CommandWords[], global: readonly Word[]): string {
  const cases = commands.map(({ name, options, choices, takesPath }) => {
    const valued = options.filter(({ takesValue }) => takesValue);
    const values = valued.map(
      (option) =>
        `        ${option.name}) COMPREPLY=($(compgen -W '${option.choices.join(" ")}' -- "$cur")); return ;;`,
    );
    const words = [...options.map((option) => option.name), ...choices].join(" ");
    return [
      `    ${name})`,
      ...(values.length > 0 ? ['      case "$prev" in', ...values, "      esac"] : []),
      `      COMPREPLY=($(compgen -W '${words}' -- "$cur"))`,
      ...(takesPath ? ['      [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- "$cur"))'] : []),
      "      ;;",
    ].join("\n");
  });
  const first = [...commands.map(({ name }) => name), ...global.map(({ name }) => name)].join(" ");
  return `# bash completion for ${program}; load it with: eval "$(${program} completion bash)"
_${program}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  compopt -o filenames 2>/dev/null
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '${first}' -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
}
complete -F _${program} ${program}
`;
}

function zsh(program: string, commands: readonly CommandWords[], global: readonly Word[]): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const plain = (text: string) => text.replace(/[[\]:]/g, "\\$&");
  const spec = ({ name, description, takesValue, takesPath, choices }: Word) => {
    const action = takesPath ? "_files" : choices.length > 0 ? `(${choices.join(" ")})` : "";
    return quoted(`${name}[${plain(description)}]${takesValue ? `:value:${action}` : ""}`);
  };
  const cases = commands.map(({ name, options, choices, takesPath }) => {
    const rest = takesPath ? ["'*:file:_files'"] : choices.length > 0 ? [`'*:name:(${choices.join(" ")})'`] : [];
    return `      ${name}) _arguments ${[...options.map(spec), ...rest].join(" ")} ;;`;
  });
  const described = commands.map(({ name, description }) => `    ${quoted(`${name}:${plain(description)}`)}`);
  return `#compdef ${program}
# zsh completion for ${program}; load it with: eval "$(${program} completion zsh)"
_${program}() {
  local -a commands
  commands=(
${described.join("\n")}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    _arguments ${global.map(spec).join(" ")}
  else
    local command=\${words[2]}
    shift words
    ((CURRENT--))
    case $command in
${cases.join("\n")}
    esac
  fi
}
compdef _${program} ${program}
`;
}

function fish(program: string, commands: readonly CommandWords[], global: readonly Word[]): string {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const line = (condition: string, { name, description, takesValue, takesPath, choices }: Word) => {
    const value = takesPath
      ? " -r -F"
      : choices.length > 0
        ? ` -x -a ${quoted(choices.join(" "))}`
        : takesValue
          ? " -x"
          : "";
    return `complete -c ${program} -n ${condition} -l ${name.slice(2)}${value} -d ${quoted(description)}`;
  };
  const own = commands.flatMap(({ name, description, options, choices, takesPath }) => {
    const inside = quoted(`__fish_seen_subcommand_from ${name}`);
    return [
      `complete -c ${program} -n __fish_use_subcommand -f -a ${name} -d ${quoted(description)}`,
      ...options.map((option) => line(inside, option)),
      ...(choices.length > 0 ? [`complete -c ${program} -n ${inside} -f -a ${quoted(choices.join(" "))}`] : []),
      ...(takesPath || choices.length > 0 ? [] : [`complete -c ${program} -n ${inside} -f`]),
    ];
  });
  return `# fish completion for ${program}; load it with: ${program} completion fish | source
${[...global.map((option) => line("__fish_use_subcommand", option)), ...own].join("\n")}
`;
}
