//! Names for bash.

use std::fmt::Write as _;

use super::Names;

/// A function around the generated one. Reads the names line by line: bash would carry out what
/// stands in words for `compgen -W`.
pub(super) fn added(names: &Names, mut script: String) -> Result<String, String> {
    let function = format!("_{}", names.program.replace('-', "__"));
    let head = format!("{function}() {{");
    if !script.lines().any(|line| line == head) {
        return Err(format!("bash: no function is called {function}"));
    }
    let mut cases = String::new();
    for group in names.command_groups() {
        let own = names.groups.iter().find(|(name, _)| *name == group);
        let kind = own.map_or("-", |(_, kind)| kind);
        let _ = writeln!(
            cases,
            "            {group}) group='{group} ' kind={kind} ;;"
        );
    }
    for (path, kind) in names.commands.iter().filter(|(path, _)| !path.is_empty()) {
        let path = path.join(" ");
        let _ = writeln!(cases, "            '{path}') kind={kind} is_last=1 ;;");
    }
    let values = names.values.iter();
    let values = values.map(|(_, option, kind)| format!("            {option}) kind={kind} ;;\n"));
    let values: String = values.collect();
    // A pattern that nothing fits where there is none.
    let any_of = |words: &[&str]| match words {
        [] => "''".to_owned(),
        words => words.join("|"),
    };
    script.push_str(
        &BASH
            .replace("@cases@\n", &cases)
            .replace("@values@\n", &values)
            .replace("@options@", &any_of(names.options))
            .replace("@switches@", &any_of(names.switches))
            .replace("@place@", names.place.unwrap_or("''"))
            .replace("@own@", names.of_program().map_or("-", |_| "''"))
            .replace("@function@", &function)
            .replace("@ask@", names.ask)
            .replace(
                "@typed@",
                if names.takes_typed() {
                    "-- \"$word\""
                } else {
                    ""
                },
            )
            .replace("@program@", names.program),
    );
    Ok(script)
}

/// bash's own words end at each colon and equals sign and keep their quotes, so the line is read
/// here: `word` is the last word without quotes, `raw` the same as it was typed, `quote` the quote
/// that is still open. Where bash gives no line there are only its words. `kind` is `-` where there
/// are no names. Of a word bash replaces only what it says is to be completed, `$2`.
const BASH: &str = r#"
@function@__names() {
    local line="${COMP_LINE:0:${COMP_POINT:-0}}" words=() word= raw= quote= i next
    local group= kind=@own@ is_last= option= more=() before candidate match rest
    if [[ -z "$line" ]]; then
        local IFS=' '
        line="${COMP_WORDS[*]:0:COMP_CWORD+1}"
        unset IFS
    fi
    for ((i = 0; i < ${#line}; i++)); do
        next="${line:i:1}"
        case "$quote$next" in
            [[:space:]])
                [[ -z "$raw" ]] || words+=("$word")
                raw= word=
                continue
                ;;
            \\|'"\')
                raw+="$next" i=$((i + 1)) next="${line:i:1}"
                [[ -z "$quote" || "$next" == [\$\`\"\\] ]] || word+='\'
                word+="$next"
                ;;
            \'|\") quote="$next" ;;
            "''"|'""') quote= ;;
            *) word+="$next" ;;
        esac
        raw+="$next"
    done
    for next in "${words[@]:1}"; do
        case "$option" in
            '') ;;
            @place@) more+=("$option=$next") option= && continue ;;
            *) option= && continue ;;
        esac
        case "$next" in
            @options@) option="$next" && continue ;;
            @place@=*|@switches@) more+=("$next") && continue ;;
            -*) continue ;;
        esac
        [[ -n "$is_last" ]] || case "$group$next" in
@cases@
        esac
    done
    case "$option$word" in
        --*=*) option="${word%%=*}" word="${word#*=}" raw="${raw#*=}" ;;
        -*) [[ -n "$option" ]] || kind=- ;;
    esac
    case "$option" in
        '') ;;
@values@
        *) kind=- ;;
    esac
    if [[ "$kind" == - ]]; then
        @function@ "$1" "$2" "${option:-$3}"
        return
    fi
    COMPREPLY=()
    [[ -z "$group" || -n "$is_last" ]] || @function@ "$@"
    compopt +o default +o bashdefault 2>/dev/null
    before="${raw%"$2"}"
    while read -r candidate; do
        [[ "$candidate" == "$word"* ]] || continue
        for next in "${words[@]:1}"; do
            [[ "$next" != "$candidate" ]] || continue 2
        done
        printf -v match %q "$candidate"
        if [[ -z "$quote" && "$match" == "$before"* ]]; then
            match="${match#"$before"}"
        else
            rest="${candidate:${#word}}"
            case "$quote" in
                \') rest="${rest//\'/\'\\\'\'}" ;;
                \")
                    rest="${rest//\\/\\\\}" rest="${rest//\"/\\\"}"
                    rest="${rest//\$/\\\$}" rest="${rest//\`/\\\`}"
                    ;;
                *) [[ -z "$rest" ]] || printf -v rest %q "$rest" ;;
            esac
            match="$2$rest"
        fi
        [[ "$candidate" != *'[' ]] || compopt -o nospace 2>/dev/null
        COMPREPLY+=("$match")
    done < <(@program@ @ask@ "${more[@]}" $kind @typed@ 2>/dev/null)
}
complete -F @function@__names -o bashdefault -o default @program@
"#;
