// Blocks of SIMATIC S7-300/400 programs. Header: two octets 0x7070, at 5 the block type (8 is OB, 0x0C FC, 0x0E FB), at 6 its
// number. Calls of system functions are the MC7 octets FB 74 and the function's number.
// What rules may ask besides the octets: kind, name, protocol (texts), to_device, complete (true or false), as
// detectors/carving/artifact.py says. Each rule has the meta fields below; its finding is called yara.<id>.

rule s7_main_or_watchdog_block
{
    meta:
        id = "s7-main-block"
        severity = "low"
        technique = "T0821 T0843"
        name_zh = "改动 PLC 的主循环"
        name_en = "The main loop of a PLC is changed"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”是控制器周期执行的组织块（OB1 或 OB35）。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, is an organisation block that the controller runs in every cycle (OB1 or OB35)."
        why_zh = "插在这里的代码每个周期都会执行；公开分析过的 PLC 蠕虫正是在这些块的开头加入对自身的调用。"
        why_en = "Code put in here runs in every cycle; the PLC worms analysed in public put a call of themselves at the beginning of just these blocks."
        check_zh = "请核对变更单；若没有，请把该块与离线项目比对，并查清 {source}。"
        check_en = "Compare with the change record; if there is none, compare the block with your project and find out what {source} is."
    condition:
        to_device and kind == "s7-block" and uint16be(0) == 0x7070 and uint8(5) == 0x08 and
        (uint16be(6) == 1 or uint16be(6) == 35)
}

rule s7_block_stops_the_cpu
{
    meta:
        id = "s7-stops-cpu"
        severity = "high"
        technique = "T0858 T0843"
        name_zh = "程序块会使 PLC 停机"
        name_en = "A block that stops the PLC"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”调用系统功能 SFC 46，执行到此处 CPU 会停机。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, calls system function SFC 46: where that is reached, the CPU goes to STOP."
        why_zh = "攻击者可借此让控制器在选定的时刻停机，而无需再发出任何网络命令。"
        why_en = "An attacker can make the controller stop at a time of his choice, without another command on the network."
        check_zh = "请核对变更单；若没有，请把该块与离线项目比对，并查清 {source}。"
        check_en = "Compare with the change record; if there is none, compare the block with your project and find out what {source} is."
    strings:
        $call = { FB 74 00 2E }
    condition:
        kind == "s7-block" and uint16be(0) == 0x7070 and (uint8(5) == 0x08 or uint8(5) == 0x0C or uint8(5) == 0x0E) and $call
}

rule s7_block_changes_protection_or_deletes
{
    meta:
        id = "s7-changes-program"
        severity = "medium"
        technique = "T0889 T0843"
        name_zh = "程序块会删除数据或更改保护"
        name_en = "A block that deletes data or changes protection"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”调用系统功能删除数据块（SFC 23）或更改保护等级（SFC 109）。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, calls system functions that delete data blocks (SFC 23) or change the protection level (SFC 109)."
        why_zh = "正常的工艺程序很少需要这些功能；它们可抹去运行数据，或不让工程师再访问控制器。"
        why_en = "Process programs hardly ever need them; they can wipe running data or keep engineers out of the controller."
        check_zh = "请核对变更单；若没有，请把该块与离线项目比对，并查清 {source}。"
        check_en = "Compare with the change record; if there is none, compare the block with your project and find out what {source} is."
    strings:
        $delete = { FB 74 00 17 }
        $protect = { FB 74 00 6D }
    condition:
        kind == "s7-block" and uint16be(0) == 0x7070 and (uint8(5) == 0x08 or uint8(5) == 0x0C or uint8(5) == 0x0E) and any of them
}

rule s7_block_sets_the_clock
{
    meta:
        id = "s7-sets-clock"
        severity = "low"
        technique = "T0843"
        name_zh = "程序块会改 PLC 时钟"
        name_en = "A block that sets the PLC's clock"
        saw_zh = "{source} 传给 {destination} 的“{artifact}”调用系统功能 SFC 0 设置时钟。"
        saw_en = "\"{artifact}\", which went from {source} to {destination}, calls system function SFC 0, which sets the clock."
        why_zh = "错误的时间会打乱报警顺序并妨碍调查；对时程序也会用到它。"
        why_en = "A wrong time shuffles the order of alarms and hinders an investigation; programs that keep time use it as well."
        check_zh = "请核对变更单；若没有，请把该块与离线项目比对，并查清 {source}。"
        check_en = "Compare with the change record; if there is none, compare the block with your project and find out what {source} is."
    strings:
        $call = { FB 74 00 00 }
    condition:
        kind == "s7-block" and uint16be(0) == 0x7070 and (uint8(5) == 0x08 or uint8(5) == 0x0C or uint8(5) == 0x0E) and $call
}
