// Files that have no business in a controller, or that change it as a whole.
// What rules may ask besides the octets: kind, name, protocol (texts), to_device, complete (true or false), as
// detectors/carving/artifact.py says. Each rule has the meta fields below; its finding is called yara.<id>.

rule windows_program
{
    meta:
        id = "windows-program"
        severity = "high"
        technique = "T0867"
        name_zh = "向设备传送 Windows 程序"
        name_en = "A Windows program goes to a device"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”是 Windows 可执行程序。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, is a Windows executable."
        why_zh = "控制器不运行 Windows 程序；它可能要借设备转存，或在操作站上运行，这是入侵者在工控网中横向移动的常见方式。"
        why_en = "Controllers run no Windows programs; it may be parked there or meant for an operator station, which is how intruders commonly move through a plant."
        check_zh = "请确认是否有人按计划传送此文件；若没有，请隔离 {source}，保存该文件，并检查 {destination} 是否已运行它。"
        check_en = "Ask whether somebody planned to transfer this; if not, isolate {source}, keep the file, and examine whether {destination} has run it."
    condition:
        to_device and uint16(0) == 0x5A4D and uint32(0x3C) < filesize and uint32(uint32(0x3C)) == 0x00004550
}

rule windows_program_fetched
{
    meta:
        id = "windows-program-fetched"
        severity = "medium"
        technique = "T0867"
        name_zh = "取回 Windows 程序"
        name_en = "A Windows program is fetched"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”是 Windows 可执行程序。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, is a Windows executable."
        why_zh = "从服务器取回程序可能是更新，也可能是入侵者在装载工具；工控网中应当清楚每个程序的来源。"
        why_en = "A program that is fetched from a server may be an update or the tool of an intruder; in a plant each should have a known origin."
        check_zh = "请确认该程序的来源和用途；若不清楚，请隔离 {destination} 并检查该文件。"
        check_en = "Find out where this program comes from and what for; if nobody knows, isolate {destination} and examine the file."
    condition:
        not to_device and uint16(0) == 0x5A4D and uint32(0x3C) < filesize and uint32(uint32(0x3C)) == 0x00004550
}

rule linux_program
{
    meta:
        id = "linux-program"
        severity = "high"
        technique = "T0867 T0857"
        name_zh = "向设备传送 Linux 程序"
        name_en = "A Linux program goes to a device"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”是 ELF 可执行程序。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, is an ELF executable."
        why_zh = "许多控制器、网关和交换机运行 Linux；写入的程序可成为后门或破坏固件。"
        why_en = "Many controllers, gateways and switches run Linux; a program written to them can be a back door or destroy the firmware."
        check_zh = "请确认是否有人按计划传送此文件；若没有，请隔离 {source}，保存该文件，并检查 {destination} 是否已运行它。"
        check_en = "Ask whether somebody planned to transfer this; if not, isolate {source}, keep the file, and examine whether {destination} has run it."
    condition:
        to_device and uint32be(0) == 0x7F454C46
}

rule script_to_a_device
{
    meta:
        id = "script"
        severity = "medium"
        technique = "T0853 T0867"
        name_zh = "向设备传送脚本"
        name_en = "A script goes to a device"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”是可直接执行的脚本。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, is a script that can be run as it is."
        why_zh = "脚本可在设备上执行任意命令，也常是入侵的第一步。"
        why_en = "A script can run any command on the device, and often is the first step of an intrusion."
        check_zh = "请确认是否有人按计划传送此文件；若没有，请隔离 {source}，保存该文件，并检查 {destination} 是否已运行它。"
        check_en = "Ask whether somebody planned to transfer this; if not, isolate {source}, keep the file, and examine whether {destination} has run it."
    strings:
        $shebang = "#!/"
        $powershell = "powershell" nocase fullword
        $hidden = /-(enc|encodedcommand|noprofile|nop|windowstyle hidden)\b/ nocase
        $batch = "@echo off" nocase
        $busybox = "/bin/busybox "
    condition:
        to_device and filesize < 1MB and
        ($shebang at 0 or $batch at 0 or ($powershell and $hidden) or #busybox > 1)
}

rule web_shell
{
    meta:
        id = "web-shell"
        severity = "high"
        technique = "T0866 T0867"
        name_zh = "向网页服务器传送后门脚本"
        name_en = "A back door for a web server goes to a device"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”把访问者的输入当作命令执行。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, runs what visitors send as commands."
        why_zh = "写入设备网页服务器的后门让任何人远程执行命令。"
        why_en = "In the web server of a device it lets anybody run commands from afar."
        check_zh = "请确认是否有人按计划传送此文件；若没有，请隔离 {source}，保存该文件，并检查 {destination} 是否已运行它。"
        check_en = "Ask whether somebody planned to transfer this; if not, isolate {source}, keep the file, and examine whether {destination} has run it."
    strings:
        $php = /<\?(php)?[^?]{0,200}\b(eval|system|passthru|shell_exec|assert)\s*\(\s*(base64_decode\s*\(\s*)?\$_(GET|POST|REQUEST|COOKIE)/ nocase
        $jsp = /Runtime\.getRuntime\(\)\.exec\(\s*request\.getParameter/
        $asp = /\b(eval|execute)\s*\(?\s*request\s*[\.\(]/ nocase
    condition:
        to_device and filesize < 2MB and any of them
}

rule firmware_image
{
    meta:
        id = "firmware-image"
        severity = "high"
        technique = "T0857"
        name_zh = "向设备传送固件"
        name_en = "Firmware goes to a device"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”是设备固件的映像。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, is an image of device firmware."
        why_zh = "固件决定设备的一切行为；被篡改的固件可长期潜伏，损坏的固件会使设备报废，2015 年乌克兰停电即用过此法。"
        why_en = "Firmware decides everything a device does; tampered it can stay hidden for years, damaged it makes the device useless, as in the Ukrainian power cut of 2015."
        check_zh = "请核对固件更新计划和映像的校验值；若无计划，请阻断传送并确认设备状态。"
        check_en = "Compare with the plan of firmware updates and with the maker's checksum; if there is no plan, block the transfer and look after the device."
    strings:
        $vxworks = "VxWorks" fullword
        $build = "Wind River Systems"
        $squashfs = { 68 73 71 73 }
        $cramfs = { 45 3D CD 28 }
    condition:
        to_device and (uint32be(0) == 0x27051956 or uint32be(0) == 0xD00DFEED or
        (filesize > 64KB and ($squashfs or $cramfs in (0..1024) or ($vxworks and $build))))
}

rule project_archive
{
    meta:
        id = "project-archive"
        severity = "informational"
        technique = "T0845"
        name_zh = "传送项目档案"
        name_en = "A project archive is transferred"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”是项目档案（ZIP 或施耐德 APX）。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, is a project archive (ZIP or Schneider APX)."
        why_zh = "档案中可能是完整的控制项目；工程师备份时会这样做。"
        why_en = "It may hold a whole control project; engineers transfer such archives for backups."
        check_zh = "若 {destination} 不是工程师站或备份服务器，请查清项目被送往何处。"
        check_en = "If {destination} is neither an engineering station nor a backup server, find out where the project went."
    strings:
        $zip = { 50 4B 03 04 }
        $apx = "APX"
        $sta = ".apx" nocase
    condition:
        ($zip at 0 and (kind == "umas-program" or kind == "dnp3-file" or kind == "modbus-file" or $sta)) or
        ($apx at 0 and filesize > 256)
}

rule private_key
{
    meta:
        id = "private-key"
        severity = "medium"
        technique = "T0811"
        name_zh = "传送私钥"
        name_en = "A private key is transferred in the clear"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”含有私钥。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, holds a private key."
        why_zh = "谁看到明文私钥，谁就能冒充其主人。"
        why_en = "Whoever sees a private key in the clear can pass for its owner."
        check_zh = "请更换该密钥，并改用加密的方式传送。"
        check_en = "Replace the key, and transfer such files encrypted from now on."
    strings:
        $begin = /-----BEGIN ((RSA|EC|DSA|OPENSSH|ENCRYPTED) )?PRIVATE KEY-----/
    condition:
        $begin
}
