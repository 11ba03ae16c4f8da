# Completion of autoenroll(1) for fish. The program itself knows its verbs and options, and asks the daemon for names.
function __autoenroll_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] --complete -- $words[2..-1] 2>/dev/null)
        if string match -q '@files*' -- $line
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c autoenroll -f -a '(__autoenroll_complete)'
