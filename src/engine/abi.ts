// The contract between the engine (AssemblyScript) and its host (TypeScript): operation numbers, the layout of a decoded
// instruction in linear memory, the register block, status codes and property numbers. Both sides compile this very file,
// so it holds constants only.

/**
 * What an instruction does. Operands stand in the manual's (Intel) order; `opSize` is the operand size in bytes.
 * One operation serves every encoding and size of an instruction; the instruction table (src/isa) names it in each row.
 */
export enum Op {
  UNSUPPORTED = 0,
  // two-operand arithmetic: [dst, src]
  ADD,
  OR,
  ADC,
  SBB,
  AND,
  SUB,
  XOR,
  CMP,
  TEST,
  // one operand: [dst]
  INC,
  DEC,
  NEG,
  NOT,
  // [dst, src]; MOVZX/MOVSX: operand sizes differ (MOVSXD is MOVSX with a 4-byte source)
  MOV,
  MOVZX,
  MOVSX,
  LEA,
  XCHG,
  XADD,
  CMPXCHG,
  /** [mem]; opSize 8 is CMPXCHG8B, 16 is CMPXCHG16B */
  CMPXCHG8B,
  BSWAP,
  /** [src] (register, memory, immediate or segment register) */
  PUSH,
  /** [dst] (register, memory or segment register) */
  POP,
  PUSHA,
  POPA,
  PUSHF,
  POPF,
  /** [imm16 size, imm8 level] */
  ENTER,
  LEAVE,
  // [dst, count]: count is an immediate (1 for the D0/D1 forms) or CL
  ROL,
  ROR,
  RCL,
  RCR,
  SHL,
  SHR,
  SAR,
  /** [dst, src, count] */
  SHLD,
  SHRD,
  // [src], accumulator implied
  MUL,
  IMUL1,
  DIV,
  IDIV,
  /** [dst, src] or [dst, src, imm] */
  IMUL2,
  // [base, offset]
  BT,
  BTS,
  BTR,
  BTC,
  // [dst, src]
  BSF,
  BSR,
  TZCNT,
  LZCNT,
  POPCNT,
  // cond in the record. SETCC [dst], CMOVCC [dst, src], JCC [rel]
  SETCC,
  CMOVCC,
  JCC,
  /** [rel | reg | mem], near */
  JMP,
  CALL,
  /** [] or [imm16], near */
  RET,
  /** far: [far immediate] or [mem m16:16/32/64] */
  JMPF,
  CALLF,
  /** [] or [imm16], far */
  RETF,
  IRET,
  /** [imm8] */
  INT,
  INT3,
  INT1,
  INTO,
  // [rel]; the counter's width is addrSize
  LOOP,
  LOOPE,
  LOOPNE,
  JCXZ,
  // string instructions: opSize is the element, operands implied, REP/REPNE in flags, source segment in `seg`
  MOVS,
  CMPS,
  STOS,
  LODS,
  SCAS,
  INS,
  OUTS,
  /** [AL/AX/EAX, imm8 | DX] */
  IN,
  /** [imm8 | DX, AL/AX/EAX] */
  OUT,
  /** CBW, CWDE, CDQE by opSize 2, 4, 8 (of the result) */
  CBW,
  /** CWD, CDQ, CQO by opSize */
  CWD,
  LAHF,
  SAHF,
  CLC,
  STC,
  CMC,
  CLD,
  STD,
  CLI,
  STI,
  CLAC,
  STAC,
  XLAT,
  /** NOP in all forms, ENDBR, PREFETCH, RDSSP with CET off; a memory operand is not accessed */
  NOP,
  PAUSE,
  LFENCE,
  MFENCE,
  SFENCE,
  SERIALIZE,
  CPUID,
  RDTSC,
  RDTSCP,
  /** UD0, UD1, UD2: the defined way to raise #UD */
  UD,
  HLT,
  /** opSize 4 or 8 (REX.W) for SYSRET and SYSEXIT */
  SYSCALL,
  SYSRET,
  SYSENTER,
  SYSEXIT,
  SWAPGS,
  RDMSR,
  WRMSR,
  // [mem]
  LGDT,
  LIDT,
  SGDT,
  SIDT,
  // [r/m]
  LLDT,
  LTR,
  SLDT,
  STR,
  LMSW,
  SMSW,
  CLTS,
  /** [mem], not accessed */
  INVLPG,
  WBINVD,
  INVD,
  /** [reg, mem128] */
  INVPCID,
  /** [reg, creg] or [creg, reg] */
  MOVCR,
  /** [reg, dreg] or [dreg, reg] */
  MOVDR,
  /** [sreg, r/m16] */
  MOVTOSEG,
  /** [r/m, sreg] */
  MOVFROMSEG,
  /** [reg, mem far]; the segment register is operand 2: LDS LES LSS LFS LGS */
  LSEG,
  // [dst, r/m16]
  LAR,
  LSL,
  // [r/m16]
  VERR,
  VERW,
  // [reg]
  RDFSBASE,
  RDGSBASE,
  WRFSBASE,
  WRGSBASE,
  ERETS,
  ERETU,
  /** [r/m16] */
  LKGS,
  RSM,
  // one past the last
  COUNT,
}

/** Kinds of operand in a record. */
export enum Kind {
  NONE = 0,
  /** general register `r`, low part of the operand's size */
  GPR,
  /** AH, CH, DH, BH: `r` 0..3 is the register whose bits 15:8 are meant */
  HIGH,
  MEM,
  /** the value is in `imm` (first immediate) */
  IMM,
  /** the value is in `imm2` (second immediate: ENTER's level) */
  IMM2,
  SREG,
  CREG,
  DREG,
  /** branch displacement in `imm`, relative to the next instruction */
  REL,
  /** far immediate: offset in `imm`, selector in `imm2` */
  FAR,
}

/** Byte offsets in a decoded instruction record. Numbers are little-endian; `u8` unless said. */
export enum Rec {
  /** u16, Op */
  OP = 0,
  LENGTH = 2,
  /** operand size in bytes */
  OPSIZE = 3,
  /** address size in bytes: 2, 4, 8 */
  ADDRSIZE = 4,
  /** RecFlag bits */
  FLAGS = 5,
  /** condition 0..15 of Jcc, SETcc, CMOVcc */
  COND = 6,
  /** effective segment of the memory operand (or of a string source), Seg */
  SEG = 7,
  KIND0 = 8,
  KIND1 = 9,
  KIND2 = 10,
  KIND3 = 11,
  REG0 = 12,
  REG1 = 13,
  REG2 = 14,
  REG3 = 15,
  SIZE0 = 16,
  SIZE1 = 17,
  SIZE2 = 18,
  SIZE3 = 19,
  /** base register 0..15, Base.NONE or Base.RIP */
  BASE = 20,
  /** index register 0..15, Base.NONE */
  INDEX = 21,
  /** shift 0..3 */
  SCALE = 22,
  /** 64 or 32: the mode it was decoded in */
  MODE = 23,
  /** i64, sign-extended displacement */
  DISP = 24,
  /** i64, first immediate, sign-extended to the operand's rules */
  IMM = 32,
  /** i64 */
  IMM2 = 40,
  /** u64, linear address it was decoded at (with CS.base added) */
  RIP = 48,
  /** u32, Tag bits of that address */
  TAGS = 56,
  /** u32, place in the coverage map, or 0 */
  COVER = 60,
  /** 16 bytes: the instruction's bytes, zero-filled */
  BYTES = 64,
  SIZEOF = 80,
}

/** Special values of Rec.BASE and Rec.INDEX. */
export enum Base {
  NONE = 16,
  RIP = 17,
}

export enum RecFlag {
  LOCK = 1,
  REP = 2,
  REPNE = 4,
  /** a 66 prefix was given (near branches in 64-bit mode: vendors differ, fact 7.9) */
  O16 = 8,
  /** the instruction crosses a 4 KiB page, or could not be fetched whole */
  CROSSES = 16,
  /** the instruction goes on into a page that could not be read when it was decoded */
  TRUNCATED = 32,
  /** it has more than 15 bytes: #GP (1.1) */
  TOO_LONG = 64,
}

/** Segment registers in encoding order. */
export enum Seg {
  ES = 0,
  CS,
  SS,
  DS,
  FS,
  GS,
  LDTR,
  TR,
}

/**
 * The register block: 64-bit words, index times 8 is the byte offset. Words before FIRST_COLD change at every step and
 * are hashed afresh; the rest seldom change, and their part of the fingerprint is kept until one does.
 */
export enum Reg {
  RAX = 0,
  RCX,
  RDX,
  RBX,
  RSP,
  RBP,
  RSI,
  RDI,
  R8,
  R9,
  R10,
  R11,
  R12,
  R13,
  R14,
  R15,
  RIP,
  RFLAGS,
  /** State bits: what the CPU and the checker remember between instructions */
  STATE,
  /** number of contexts owed a resume */
  DEPTH,
  /** fingerprint of those contexts */
  CTXHASH,
  FIRST_COLD,
  // segment registers: selector, base, limit (bytes, already scaled), attributes (Attr)
  ES_SEL = 21,
  ES_BASE,
  ES_LIMIT,
  ES_ATTR,
  CS_SEL,
  CS_BASE,
  CS_LIMIT,
  CS_ATTR,
  SS_SEL,
  SS_BASE,
  SS_LIMIT,
  SS_ATTR,
  DS_SEL,
  DS_BASE,
  DS_LIMIT,
  DS_ATTR,
  FS_SEL,
  FS_BASE,
  FS_LIMIT,
  FS_ATTR,
  GS_SEL,
  GS_BASE,
  GS_LIMIT,
  GS_ATTR,
  LDTR_SEL,
  LDTR_BASE,
  LDTR_LIMIT,
  LDTR_ATTR,
  TR_SEL,
  TR_BASE,
  TR_LIMIT,
  TR_ATTR,
  GDTR_BASE,
  GDTR_LIMIT,
  IDTR_BASE,
  IDTR_LIMIT,
  CR0,
  CR2,
  CR3,
  CR4,
  CR8,
  EFER,
  STAR,
  LSTAR,
  CSTAR,
  FMASK,
  KERNEL_GS_BASE,
  SYSENTER_CS,
  SYSENTER_ESP,
  SYSENTER_EIP,
  MCG_STATUS,
  DEBUGCTL,
  SPEC_CTRL,
  TSC_AUX,
  PAT,
  APIC_BASE,
  DR0,
  DR1,
  DR2,
  DR3,
  DR6,
  DR7,
  /** DR6 bits of a debug trap that is pending (BS, B0..B3), fact 8.1, 8.5 */
  PENDING_DB,
  /** how often each limited event may still strike: eight 8-bit counters */
  BUDGET,
  /** the register frame that the handler's body was given (linear address), and the depth at which the body runs */
  BODY_FRAME,
  BODY_DEPTH,
  /** RSP at the body's start, and the word there: its return address, when it was called */
  BODY_RSP,
  BODY_RETURN,
  /** one past the last word that belongs to the fingerprint */
  HASHED,
  /** address of the innermost context's record, 0 without one; where the next record goes */
  CTX_TOP = HASHED,
  CTX_NEXT,
  /** fingerprint of memory, relative to its initial contents; fingerprint of the cold registers */
  MEM_HASH,
  COLD_HASH,
  COUNT,
}

/** Words of a context's record: what an interrupted activity is owed. */
export enum Ctx {
  /** address of the record of the context around it, 0 for the outermost */
  OUTER = 0,
  /** fingerprint of the list up to and with this context */
  HASH,
  /** vector, or CtxBy; bit 8: the context's own instruction faulted (CTX_FAULT) */
  BY,
  CPL,
  RIP,
  CS,
  RFLAGS,
  RSP,
  SS,
  RAX,
  RCX,
  RDX,
  RBX,
  RSP_COPY,
  RBP,
  RSI,
  RDI,
  R8,
  R9,
  R10,
  R11,
  R12,
  R13,
  R14,
  R15,
  FS_BASE,
  GS_BASE,
  KERNEL_GS_BASE,
  CR3,
  DR0,
  DR1,
  DR2,
  DR3,
  DR7,
  DS,
  ES,
  FS,
  GS,
  /** linear address of the frame that delivery pushed, and one past it; both 0 where nothing was pushed */
  FRAME_LOW,
  FRAME_HIGH,
  /** faulting address of a #PF */
  CR2,
  /** State.USER_RSP and State.BODY as they were */
  STATE,
  COUNT,
}

/** Ctx.BY beyond the vectors. */
export enum CtxBy {
  FAULT = 0x100,
  SYSCALL = 0x200,
  SYSENTER = 0x201,
  VECTOR_MASK = 0xff,
}

/** Bits of Reg.STATE. */
export enum State {
  CPL_MASK = 3,
  NMI_BLOCKED = 4,
  NMI_PENDING = 8,
  /** an NMI arrived and no body of the handler has started since */
  NMI_OWED = 0x10,
  /** the handler's body is running */
  BODY = 0x20,
  /** shadow of MOV SS / POP SS over the boundary ahead (fact 3.1) */
  SHADOW_SS = 0x40,
  /** shadow of STI (fact 3.5) */
  SHADOW_STI = 0x80,
  HALTED = 0x100,
  SHUTDOWN = 0x200,
  /** RSP at CPL 0 is one that user code chose (property user-stack) */
  USER_RSP = 0x400,
  /** the explorer chose to hold an NMI through an STI shadow (fact 3.5: may be blocked) */
  NMI_HELD = 0x800,
  /** maskable interrupts requested: bit 16 + number of the event rule */
  INTR_SHIFT = 16,
  INTR_MASK = 0xffff0000,
}

/** Descriptor attributes as cached: the access byte, then the flags nibble. */
export enum Attr {
  TYPE_MASK = 0xf,
  ACCESSED = 1,
  /** data: writable; code: readable */
  RW = 2,
  /** data: expand-down; code: conforming */
  DC = 4,
  CODE = 8,
  S = 0x10,
  DPL_SHIFT = 5,
  DPL_MASK = 0x60,
  P = 0x80,
  AVL = 0x100,
  L = 0x200,
  DB = 0x400,
  G = 0x800,
  /** the register holds a null selector */
  NULL = 0x1000,
}

/** Why the engine handed control back. */
export enum Status {
  /** one step done */
  OK = 0,
  /** the instruction at the current RIP is not decoded yet: `request` has its physical address */
  DECODE,
  /** an instruction or feature that the model lacks: `detail` says which (Lack) */
  UNSUPPORTED,
  /** a property does not hold: `property`, `detail` */
  VIOLATION,
  /** HLT with nothing that could wake it, or the end of the interrupted program */
  STOPPED,
  /** the step budget of this call is used up */
  PAUSED,
  /** the table of visited states wants to grow */
  TABLE_FULL,
  /** all work of the level is done */
  DONE,
}

/** What UNSUPPORTED means. */
export enum Lack {
  INSTRUCTION = 0,
  /** an access to physical memory that the scenario does not have */
  PHYSICAL,
  /** a mode the model does not have: real, vm86, 16-bit code */
  MODE,
  /** a task switch */
  TASK,
  /** more contexts owed than the list holds */
  DEPTH,
  /** an MSR that the model does not have */
  MSR,
  /** a run that writes more than the undo log holds */
  LOG,
}

/** Properties, in the order of reports. Numbers are bits of the scenario's property mask. */
export enum Prop {
  RESUME = 0,
  PROGRESS,
  NMI_SERVED,
  NMI_REENTRY,
  HANDLER_REGS,
  NMI_UNMASKED,
  NO_NESTING,
  STACK_BOUNDS,
  NO_SHUTDOWN,
  TEXT_ONLY,
  GS_BASE,
  USER_STACK,
  STALE_READ,
  CR2,
  FLAGS_ENTRY,
  UNREACHED,
  COUNT,
}

/** Tags of a code address, set by the host when it decodes there. */
export enum Tag {
  /** bits 0..15: event rule n may strike at the boundary before this instruction */
  EVENT_MASK = 0xffff,
  /** the scenario's own text: CPL 0 may execute it */
  TEXT = 0x10000,
  /** first instruction of the handler's body */
  BODY_START = 0x20000,
  /** first instruction after the body */
  BODY_END = 0x40000,
  /** inside the body: DF and AC must be clear (flags-entry) */
  BODY = 0x80000,
  /** a near RET here may give control back to a context */
  RESUME_RET = 0x100000,
  /** a faulting context may go on here */
  FIXUP = 0x200000,
  /** must never be reached */
  FORBIDDEN = 0x400000,
}

/** Kinds of event from outside. */
export enum Ev {
  NMI = 0,
  MCE,
  SMI,
  INTR,
  BP,
  DB,
  PF,
  COUNT,
}

/** Simplifications that a run made use of; the verdict names them among its assumptions. */
export enum Used {
  /** IN reads all ones, OUT goes nowhere */
  PORTS = 1,
  /** RDTSC and RDTSCP read zero */
  TSC = 2,
  /** CPUID gives a fixed small processor */
  CPUID = 4,
}

/**
 * The control block at the start of linear memory, shared by all workers. Byte offsets of u32 fields. What workers change
 * while others read stands in cache lines (64 bytes) of its own.
 */
export enum Ctl {
  /** 0 go on, 1 stop at the next boundary */
  STOP = 64,
  /** address of the table of visited states; entries - 1 */
  TABLE = 128,
  TABLE_MASK = 132,
  /** first chain number of the running level */
  LEVEL_BASE = 136,
  /** address of the list of parents (chain numbers), and its length */
  PARENTS = 140,
  PARENT_COUNT = 144,
  /** next free byte of linear memory, in units of 64 bytes */
  FREE = 192,
  /** states in the table */
  STATES = 256,
  /** next chain number to hand out; numbers go out in blocks */
  NEXT_CHAIN = 320,
  /** next place in the list of parents */
  NEXT_PARENT = 384,
  /** addresses of the blocks of chain records */
  CHAIN_BLOCKS = 4096,
}

/** A chain's record: 32 bytes, u32 fields. */
export enum Chain {
  /** chain that it branches off, 0 for the first */
  PARENT = 0,
  /** boundaries from the parent's start to the branching */
  POSITION = 4,
  /** event rule, or HOLD */
  EVENT = 8,
  /** instructions from the initial state to its start */
  DISTANCE = 12,
  /** boundaries from its start to its last new state */
  LENGTH = 16,
  /** chain that owns the state at which it stopped; 0: it ended */
  NEXT = 20,
  /** ChainFlag */
  FLAGS = 24,
  SIZEOF = 32,
}
export enum ChainFlag {
  USED = 1,
  /** somewhere on it the manual leaves the CPU a choice */
  CHOICE = 2,
  /** another chain came to one of its states on a shorter way and owns it now */
  ROBBED = 4,
}
/** Chains in a block of records. */
export enum ChainBlock {
  SHIFT = 16,
}
/** "Event" of a chain that takes the other side of a choice: an NMI held through the shadow of STI (3.5). */
export enum Special {
  HOLD = 255,
}

/** What a worker reports after a level: u64 words at `results()`. */
export enum Result {
  /** chains run (events tried) */
  CHAINS = 0,
  /** new states */
  STATES = 8,
  /** instructions executed from new states */
  INSTRUCTIONS = 16,
  /** the shortest violation: 1 when there is one; then distance, parent chain, position, event */
  VIOLATED = 24,
  DISTANCE = 32,
  PARENT = 40,
  POSITION = 48,
  EVENT = 56,
  /** something unsupported: 1; then parent chain, position, event */
  UNSUPPORTED = 64,
  U_PARENT = 72,
  U_POSITION = 80,
  U_EVENT = 88,
  SIZEOF = 96,
}
