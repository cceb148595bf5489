"""The DNP3 object library, written once: group, variation, name and fields (IEEE 1815-2012, Annex A; secure
authentication: clause 7). dnp3_objects.py makes tables of it.

A field is `kind` or `name:kind`. Kinds of fixed size: u8 u16 u32 i16 i32 f32 f64 (little-endian numbers), t48 (ms since
1970 UTC), dt16 (ms after the common time of occurrence), bit and bit2 (packed, least significant bits first), bcd2 bcd4
bcd8 (packed decimal digits), ctl (control status in seven bits), cmd (control status, commanded state in bit 7), crob
(control code), and the flag octets bi dbi bo ctr ai sec. Kinds whose size the object says itself: text[name] and
data[name] have as many octets as the earlier field `name` counts; text and data go to the end of the object, which only
a size prefix tells.
"""

from __future__ import annotations

LIBRARY = """
1 binary input
  1 packed | bit
  2 with flags | bi
2 binary input event
  1 without time | bi
  2 with absolute time | bi t48
  3 with relative time | bi dt16
3 double-bit binary input
  1 packed | bit2
  2 with flags | dbi
4 double-bit binary input event
  1 without time | dbi
  2 with absolute time | dbi t48
  3 with relative time | dbi dt16
10 binary output
  1 packed | bit
  2 status with flags | bo
11 binary output event
  1 status without time | bo
  2 status with time | bo t48
12 binary output command
  1 control relay output block | code:crob count:u8 on_ms:u32 off_ms:u32 ctl
  2 pattern control block | code:crob count:u8 on_ms:u32 off_ms:u32 ctl
  3 pattern mask | bit
13 binary output command event
  1 without time | cmd
  2 with time | cmd t48
20 counter
  1 32-bit with flag | ctr u32
  2 16-bit with flag | ctr u16
  3 32-bit delta with flag | ctr u32
  4 16-bit delta with flag | ctr u16
  5 32-bit without flag | u32
  6 16-bit without flag | u16
  7 32-bit delta without flag | u32
  8 16-bit delta without flag | u16
21 frozen counter
  1 32-bit with flag | ctr u32
  2 16-bit with flag | ctr u16
  3 32-bit delta with flag | ctr u32
  4 16-bit delta with flag | ctr u16
  5 32-bit with flag and time | ctr u32 t48
  6 16-bit with flag and time | ctr u16 t48
  7 32-bit delta with flag and time | ctr u32 t48
  8 16-bit delta with flag and time | ctr u16 t48
  9 32-bit without flag | u32
  10 16-bit without flag | u16
  11 32-bit delta without flag | u32
  12 16-bit delta without flag | u16
22 counter event
  1 32-bit with flag | ctr u32
  2 16-bit with flag | ctr u16
  3 32-bit delta with flag | ctr u32
  4 16-bit delta with flag | ctr u16
  5 32-bit with flag and time | ctr u32 t48
  6 16-bit with flag and time | ctr u16 t48
  7 32-bit delta with flag and time | ctr u32 t48
  8 16-bit delta with flag and time | ctr u16 t48
23 frozen counter event
  1 32-bit with flag | ctr u32
  2 16-bit with flag | ctr u16
  3 32-bit delta with flag | ctr u32
  4 16-bit delta with flag | ctr u16
  5 32-bit with flag and time | ctr u32 t48
  6 16-bit with flag and time | ctr u16 t48
  7 32-bit delta with flag and time | ctr u32 t48
  8 16-bit delta with flag and time | ctr u16 t48
30 analog input
  1 32-bit with flag | ai i32
  2 16-bit with flag | ai i16
  3 32-bit without flag | i32
  4 16-bit without flag | i16
  5 single-precision with flag | ai f32
  6 double-precision with flag | ai f64
31 frozen analog input
  1 32-bit with flag | ai i32
  2 16-bit with flag | ai i16
  3 32-bit with time of freeze | ai i32 t48
  4 16-bit with time of freeze | ai i16 t48
  5 32-bit without flag | i32
  6 16-bit without flag | i16
  7 single-precision with flag | ai f32
  8 double-precision with flag | ai f64
32 analog input event
  1 32-bit without time | ai i32
  2 16-bit without time | ai i16
  3 32-bit with time | ai i32 t48
  4 16-bit with time | ai i16 t48
  5 single-precision without time | ai f32
  6 double-precision without time | ai f64
  7 single-precision with time | ai f32 t48
  8 double-precision with time | ai f64 t48
33 frozen analog input event
  1 32-bit without time | ai i32
  2 16-bit without time | ai i16
  3 32-bit with time | ai i32 t48
  4 16-bit with time | ai i16 t48
  5 single-precision without time | ai f32
  6 double-precision without time | ai f64
  7 single-precision with time | ai f32 t48
  8 double-precision with time | ai f64 t48
34 analog input reporting deadband
  1 16-bit | u16
  2 32-bit | u32
  3 single-precision | f32
40 analog output status
  1 32-bit with flag | ai i32
  2 16-bit with flag | ai i16
  3 single-precision with flag | ai f32
  4 double-precision with flag | ai f64
41 analog output
  1 32-bit | i32 ctl
  2 16-bit | i16 ctl
  3 single-precision | f32 ctl
  4 double-precision | f64 ctl
42 analog output event
  1 32-bit without time | ai i32
  2 16-bit without time | ai i16
  3 32-bit with time | ai i32 t48
  4 16-bit with time | ai i16 t48
  5 single-precision without time | ai f32
  6 double-precision without time | ai f64
  7 single-precision with time | ai f32 t48
  8 double-precision with time | ai f64 t48
43 analog output command event
  1 32-bit without time | ctl i32
  2 16-bit without time | ctl i16
  3 32-bit with time | ctl i32 t48
  4 16-bit with time | ctl i16 t48
  5 single-precision without time | ctl f32
  6 double-precision without time | ctl f64
  7 single-precision with time | ctl f32 t48
  8 double-precision with time | ctl f64 t48
50 time and date
  1 absolute time | t48
  2 absolute time and interval | t48 interval_ms:u32
  3 absolute time at last recorded time | t48
  4 indexed absolute time and long interval | t48 interval:u32 units:u8
51 time and date common time of occurrence
  1 synchronised | t48
  2 unsynchronised | t48
52 time delay
  1 coarse | delay_s:u16
  2 fine | delay_ms:u16
60 class objects
  1 class 0 data |
  2 class 1 data |
  3 class 2 data |
  4 class 3 data |
70 file control
  1 file identifier | data
  2 authentication | user_offset:u16 user_size:u16 password_offset:u16 password_size:u16 key:u32 user:text[user_size] \
password:data[password_size]
  3 file command | name_offset:u16 name_size:u16 created:t48 permissions:permissions key:u32 size:u32 mode:mode \
max_block:u16 request:u16 name:text[name_size]
  4 file command status | handle:handle size:u32 max_block:u16 request:u16 status:file_status message:text
  5 file transport | handle:handle block:block data:data
  6 file transport status | handle:handle block:block status:file_status message:text
  7 file descriptor | name_offset:u16 name_size:u16 type:file_type size:u32 created:t48 permissions:permissions \
request:u16 name:text[name_size]
  8 file specification string | name:text
80 internal indications
  1 packed | bit
81 device storage
  1 buffer fill status | fill:u8 of_group:u8 of_variation:u8
82 device profile
  1 functions and indexes | data
83 private registration
  1 object | vendor:text4 object:u16 length:u16 data:data[length]
  2 object descriptor | vendor:text4 object:u16 length:u16 data:data[length]
85 data set prototype
  1 with UUID | data
86 data set descriptor
  1 contents | data
  2 characteristics | characteristics:u8
  3 point index attributes | data
87 data set
  1 present value | data
88 data set event
  1 snapshot | data
90 application
  1 identifier | name:text
91 status of requested operation
  1 activate configuration | data
101 binary-coded decimal integer
  1 small | bcd2
  2 medium | bcd4
  3 large | bcd8
102 unsigned integer
  1 8-bit | u8
110 octet string
111 octet string event
112 virtual terminal output block
113 virtual terminal event data
120 authentication
  1 challenge | sequence:u32 user:u16 mac:mac reason:u8 challenge:data
  2 reply | sequence:u32 user:u16 value:data
  3 aggressive mode request | sequence:u32 user:u16
  4 session key status request | user:u16
  5 session key status | sequence:u32 user:u16 key_wrap:u8 key_status:key_status mac:mac challenge_size:u16 \
challenge:data[challenge_size] value:data
  6 session key change | sequence:u32 user:u16 wrapped_keys:data
  7 error | sequence:u32 user:u16 association:u16 error:auth_error t48 message:text
  8 user certificate | method:u8 type:u8 certificate:data
  9 message authentication code | value:data
  10 user status change | method:u8 operation:u8 sequence:u32 role:u16 expiry_days:u16 name_size:u16 key_size:u16 \
certification_size:u16 name:text[name_size] key:data[key_size] certification:data[certification_size]
  11 update key change request | method:u8 name_size:u16 challenge_size:u16 name:text[name_size] \
challenge:data[challenge_size]
  12 update key change reply | sequence:u32 user:u16 challenge_size:u16 challenge:data[challenge_size]
  13 update key change | sequence:u32 user:u16 key_size:u16 wrapped_key:data[key_size]
  14 update key change signature | value:data
  15 update key change confirmation | value:data
121 security statistic
  1 32-bit with flag | sec association:u16 u32
122 security statistic event
  1 32-bit with flag | sec association:u16 u32
  2 32-bit with flag and time | sec association:u16 u32 t48
"""
