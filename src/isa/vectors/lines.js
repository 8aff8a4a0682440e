// The AT&T lines whose bytes are recorded: every mnemonic, and every class of operand at least once.

const BOTH = [];
const ONLY32 = [];
const ONLY64 = [];

const words = (text) => text.trim().split(/\s+/);
const both = (...lines) => BOTH.push(...lines);
const only32 = (...lines) => ONLY32.push(...lines);
const only64 = (...lines) => ONLY64.push(...lines);

for (const name of words("add or adc sbb and sub xor cmp")) {
  both(
    `${name} %cl,%dh`,
    `${name} %ebx,%esi`,
    `${name} %dx,%bx`,
    `${name} $5,%al`,
    `${name} $0x80,%al`,
    `${name} $5,%eax`,
    `${name} $5,%ax`,
  );
  both(
    `${name} $0x1234,%ax`,
    `${name} $0x12345678,%eax`,
    `${name} $0x12345678,%ecx`,
    `${name} $-1,%ecx`,
    `${name} $0xffffffff,%edx`,
  );
  both(
    `${name} $0xffff,%dx`,
    `${name} $127,%ebx`,
    `${name} $128,%ebx`,
    `${name} $-128,%ebx`,
    `${name}b $7,sym`,
    `${name}w $700,sym`,
    `${name}l $sym,%ecx`,
  );
  only32(`${name} %eax,(%ecx)`, `${name} 8(%ebp),%edx`, `${name}l $1,-4(%esp)`, `${name}b $1,(%eax)`);
  only64(
    `${name} %rax,(%rcx)`,
    `${name} 8(%rbp),%r10`,
    `${name}q $1,-4(%rsp)`,
    `${name}b $1,(%r12)`,
    `${name} $0x12345678,%rax`,
    `${name} $-5,%r9`,
  );
  only64(`${name} %sil,%r8b`, `${name} %r9w,%ax`, `${name}q $0x12345678,(%r13)`, `${name} $0xfffffffffffffff0,%rbx`);
}
for (const name of words("inc dec not neg mul imul div idiv")) {
  both(`${name} %al`, `${name} %cx`, `${name} %edx`, `${name}b sym`, `${name}w sym`, `${name}l sym`);
  only64(`${name} %r10`, `${name}q 0x10(%rip)`, `${name} %sil`);
}
for (const name of words("rol ror rcl rcr shl shr sar sal")) {
  both(
    `${name} %al`,
    `${name} $1,%ecx`,
    `${name} $3,%dx`,
    `${name} %cl,%ebx`,
    `${name}l %cl,sym`,
    `${name}b $4,sym`,
    `${name}w sym`,
    `${name} $31,%bh`,
  );
  only64(`${name} $63,%r15`, `${name}q %cl,(%rax)`, `${name} %rdx`);
}
for (const name of words("shld shrd")) {
  both(`${name} $4,%eax,%ebx`, `${name} %cl,%eax,%ebx`, `${name} %eax,%ebx`, `${name} $4,%ax,sym`);
  only64(`${name} $40,%r8,(%r9)`, `${name} %cl,%rax,%rdi`);
}
for (const name of words("bt bts btr btc")) {
  both(`${name} %eax,%ecx`, `${name} $3,%dx`, `${name}l $31,sym`, `${name} %ecx,sym`);
  only64(`${name} $63,%rax`, `${name}q $5,(%rdi)`, `${name} %r9,8(%r10)`);
}
for (const name of words("bsf bsr tzcnt lzcnt popcnt")) {
  both(`${name} %eax,%ecx`, `${name} sym,%dx`);
  only64(`${name} %r8,%rax`, `${name} (%rbx),%r14`);
}
for (const name of words("test mov xchg")) {
  both(
    `${name} %cl,%dl`,
    `${name} %eax,%ebx`,
    `${name} %ax,%bx`,
    `${name} %edx,sym`,
    `${name} sym,%edx`,
    `${name} %ah,sym`,
    `${name} %esi,%eax`,
  );
  only64(
    `${name} %rax,%rbx`,
    `${name} %r8,%rax`,
    `${name} %rax,%r8`,
    `${name} (%r8,%r9,4),%r10d`,
    `${name} %dil,(%rsi)`,
  );
}
for (const name of words("test mov")) {
  both(
    `${name} $1,%al`,
    `${name} $0x80,%bl`,
    `${name} $1,%ax`,
    `${name} $0x12345678,%eax`,
    `${name} $-1,%edx`,
    `${name}b $1,sym`,
    `${name}w $1,sym`,
    `${name}l $1,sym`,
  );
  both(`${name} $sym,%ebx`, `${name}l $sym,sym`, `${name} $255,%cl`, `${name} $-128,%cl`);
  only64(
    `${name} $1,%rax`,
    `${name} $-1,%r9`,
    `${name}q $0x7fffffff,(%rax)`,
    `${name} $sym,%rax`,
    `${name}q $sym,8(%rax)`,
    `${name} $0xffffffff80000000,%rcx`,
  );
}
both(
  "mov sym,%eax",
  "mov sym,%al",
  "mov %al,sym",
  "mov %ax,sym",
  "mov 0x1234,%eax",
  "mov %ebx,0x1234",
  "mov %eax,%fs:0x10",
  "movl %gs:0,%eax",
);
only64(
  "mov $0xffffffff,%rax",
  "mov $0x123456789abcdef0,%rax",
  "movq $0x80000000,%rdx",
  "movabs $1,%rax",
  "movabs $sym,%r11",
  "movabsq $-1,%rdi",
);
only64(
  "movabs 0x123456789abcdef0,%al",
  "movabs 0x123456789abcdef0,%rax",
  "movabs %eax,0x10",
  "movabs %ax,%gs:0x10",
  "movabs sym,%rax",
  "movabs %al,sym",
);
only64(
  "movq $0x1234,%gs:0x28",
  "mov %gs:0x28,%rax",
  "mov %gs:sym(%rip),%rax",
  "mov %rsp,%gs:0x14",
  "movl $5,sym(%rip)",
  "mov sym(%rip),%r15",
  "mov -8(%rip),%al",
);
for (const name of words("movzbl movsbl movzbw movsbw"))
  both(`${name} ${"%al"},${name.endsWith("l") ? "%ecx" : "%cx"}`, `${name} sym,${name.endsWith("l") ? "%edx" : "%dx"}`);
both(
  "movzwl %ax,%ecx",
  "movswl sym,%ecx",
  "movzb %ah,%eax",
  "movzx %al,%edx",
  "movsx %bx,%edx",
  "movzwl (%esi),%eax",
  "movzx %cl,%dx",
  "movzw sym,%esi",
);
only64(
  "movzbq %dil,%rax",
  "movsbq (%rax),%rcx",
  "movzwq %ax,%r8",
  "movswq %r9w,%rax",
  "movslq %eax,%rcx",
  "movslq (%rdi),%r9",
  "movsx %eax,%rdx",
  "movzbl %sil,%eax",
);
only64("movsxd %ecx,%rax", "movslq %ecx,%rbp", "movsbl %r10b,%r11d");
both("lea sym,%eax", "lea (%esi,%edi,8),%ecx", "leal 4(%ebx),%edx", "lea (%eax),%dx");
only64(
  "lea sym(%rip),%rdi",
  "lea (%rax,%rbx,2),%r12",
  "leaq -8(%rsp),%rsp",
  "lea 0x10(%r13),%eax",
  "lea (,%rax,8),%rcx",
  "lea 0x12345678(,%r12,4),%rcx",
);
only64(
  "lea (%r12),%rax",
  "lea (%r13),%rax",
  "lea (%rbp),%rax",
  "lea (%rsp),%rax",
  "lea 0x7f(%rax),%rax",
  "lea 0x80(%rax),%rax",
  "lea -0x80(%rax),%rax",
  "lea -0x81(%rax),%rax",
);
only64(
  "lea (%r13,%r14,1),%rax",
  "lea (%eax),%rax",
  "lea 1(%r8d,%r9d,2),%eax",
  "lea 0x10(%eip),%eax",
  "mov 0xffffffff80000000,%ebx",
  "mov 0x7fffffff,%bl",
);
only32(
  "lea (%ebp),%eax",
  "lea (%esp),%eax",
  "lea (,%ecx,4),%eax",
  "lea (,%ecx,1),%eax",
  "lea 0x80000000(%eax),%ecx",
  "mov 0xc0000000,%ecx",
  "mov -4(%ebp,%esi,2),%ecx",
);
only32(
  "mov (%bx,%si),%eax",
  "mov (%bx,%di),%al",
  "mov 5(%bp,%si),%ax",
  "mov 0x100(%bp,%di),%eax",
  "mov (%si),%cl",
  "mov %dl,(%di)",
  "mov (%bp),%eax",
  "lea 0x7f(%bx),%ecx",
);
only32("addr16 mov 0x1234,%ecx", "mov %ss:(%bx),%eax", "mov -1(%bp),%ecx");
both(
  "mov %cs:(%ecx),%eax",
  "mov %ds:(%ecx),%eax",
  "mov %ss:(%ecx),%eax",
  "mov %es:(%ebp),%eax",
  "mov %ds:(%ebp),%eax",
  "mov %ss:4(%esp),%eax",
  "mov %fs:(%ecx),%al",
);
only64(
  "mov %ds:(%rbp),%rax",
  "mov %ss:(%rbp),%rax",
  "mov %cs:(%rax),%eax",
  "mov %ds:(%rax),%eax",
  "mov %fs:(%r8),%r9",
  "mov %ss:8(%r12),%rax",
  "mov %ss:8(%r13),%rax",
);
for (const name of words("xadd cmpxchg")) {
  both(`${name} %al,sym`, `${name} %ecx,%edx`, `lock ${name} %ecx,sym`, `${name} %cx,(%esi)`);
  only64(`lock ${name} %r8,(%rdi)`, `${name} %sil,(%rdi)`);
}
both(
  "cmpxchg8b sym",
  "lock cmpxchg8b (%esi)",
  "lock incl sym",
  "lock addl $1,sym",
  "lock btsl $3,sym",
  "lock xchg %eax,(%ecx)",
  "lock notb (%eax)",
  "lock orw $1,(%eax)",
);
only64(
  "cmpxchg16b (%rsi)",
  "lock cmpxchg16b 0x10(%r9)",
  "lock decq (%rax)",
  "lock subq $8,%gs:0x10",
  "lock addl $0,(%rsp)",
);
both(
  "imul %ecx,%edx",
  "imul sym,%dx",
  "imul $5,%ecx,%edx",
  "imul $500,%ecx,%edx",
  "imul $5,%ecx",
  "imul $0x1234,sym,%dx",
  "imul $-1,%ax,%cx",
);
only64("imul %r8,%rax", "imul $24,%rdx,%rdx", "imul $0x12345,(%rax),%r9", "imul $100,%rdi");
both(
  "bswap %eax",
  "bswap %edi",
  "xchg %eax,%ecx",
  "xchg %ecx,%eax",
  "xchg %ax,%ax",
  "xchg %eax,%eax",
  "xchg %bx,%ax",
  "nop",
  "nopw sym",
  "nopl (%eax)",
  "nopl 0(%eax,%eax,1)",
);
only64(
  "bswap %r8",
  "bswap %rdx",
  "xchg %rax,%rax",
  "xchg %r8,%rax",
  "xchg %r8d,%eax",
  "nopl 0x0(%rax,%rax,1)",
  "nopw 0x0(%rax,%rax,1)",
  "nopw %cs:0x200(%rax,%rax,1)",
  "nopq (%rax)",
  "nop %eax",
);
both(...words("cbtw cwtl cwtd cltd lahf sahf cmc clc stc cld std xlat cbw cwde cwd cdq xlatb"));
only64(...words("cltq cqto cdqe cqo"));

for (const cond of words("o no b nae c ae nb nc e z ne nz be na a nbe s ns p pe np po l nge ge nl le ng g nle")) {
  both(`j${cond} .+16`, `j${cond} .-300`, `set${cond} %cl`, `cmov${cond} %eax,%ecx`);
}
both("sete sym", "setne (%esi)", "cmovb sym,%edx", "cmovge %cx,%dx", "cmovel %eax,%ecx");
only64("setg %r8b", "setb %dil", "cmovne (%rax),%r10", "cmovaq %rax,%rcx");
both(
  "jmp .+2",
  "jmp .-100",
  "jmp .+1000",
  "jmp .-130",
  "call .+5",
  "call .-1000",
  "loop .-2",
  "loope .+9",
  "loopne .+9",
  "loopz .",
  "loopnz .",
  "jecxz .+7",
);
only32(
  "jcxz .+4",
  "call *%eax",
  "jmp *%ecx",
  "call *sym",
  "jmp *4(%eax,%ebx,4)",
  "call *(%eax)",
  "jmp *%gs:0x10",
  "callw *%ax",
  "data16 call .+100",
  "jmpw *(%eax)",
  "calll *(%eax)",
  "jmpl *%eax",
);
only64(
  "jrcxz .+4",
  "call *%rax",
  "jmp *%r11",
  "call *sym(%rip)",
  "jmp *sym(,%rax,8)",
  "callq *(%rax)",
  "jmpq *%rdx",
  "callq .+100",
  "jmp *%gs:0x10",
  "call *0x10(%rsp)",
);
both(
  "ljmp *sym",
  "lcall *sym",
  "ljmpl *(%eax)",
  "lcallw *(%eax)",
  "lret",
  "lret $4",
  "lretl",
  "lretw",
  "lretw $2",
  "ret",
  "ret $8",
  "iret",
  "iretl",
  "iretw",
  "leave",
  "enter $16,$0",
  "enter $0x1234,$3",
);
only32(
  "ljmp $0x10,$0x12345678",
  "lcall $0x8,$0x1000",
  "ljmp $8,$sym",
  "ljmpw $8,$0x1000",
  "retl",
  "retw",
  "leavel",
  "leavew",
  "ljmp *(%ecx)",
);
only64(
  "lretq",
  "lretq $8",
  "retq",
  "retq $4",
  "iretq",
  "leaveq",
  "leavew",
  "ljmp *(%rax)",
  "lcall *8(%rax)",
  "rex64 ljmp *(%rax)",
  "rex64 iret",
);
both(
  "int3",
  "int $0x80",
  "int $3",
  "int $1",
  "int1",
  "hlt",
  "pause",
  "ud2",
  "ud1 %eax,%ecx",
  "ud0 (%eax),%ecx",
  "rep ret",
  "repz ret",
  "rep nop",
  "rep bsf %eax,%ecx",
  "cli",
  "sti",
);
only32("into", "pusha", "popa", "pushal", "popaw", "pushaw");

both(
  "push $1",
  "push $-1",
  "push $0x1234",
  "push $0x12345678",
  "push $sym",
  "pushw $1",
  "pushw $0x1234",
  "push %ax",
  "pop %bx",
  "push %fs",
  "pop %gs",
  "push %gs",
  "pop %fs",
  "push sym",
  "pop sym",
  "pushw sym",
  "pushf",
  "popf",
  "pushfw",
  "popfw",
);
only32(
  "push %eax",
  "pop %edi",
  "pushl (%eax)",
  "popl 4(%esp)",
  "push %es",
  "push %cs",
  "push %ss",
  "push %ds",
  "pop %es",
  "pop %ss",
  "pop %ds",
  "pushl $5",
  "pushfl",
  "popfl",
  "pushl %fs",
  "pushw %ds",
  "popl %gs",
  "push $0xffffffff",
);
only64(
  "push %rax",
  "push %r15",
  "pop %r8",
  "pop %rsp",
  "pushq (%rax)",
  "popq 8(%rsp)",
  "pushq 8(%r12)",
  "push (%rdi)",
  "pushq $5",
  "pushq $-1",
  "pushq $0x12345678",
  "pushfq",
  "popfq",
  "pushq %gs",
  "popq %fs",
  "pushq %rbp",
  "pushw %fs",
  "pushq $sym",
  "pushq sym(%rip)",
  "pop 0x10(%rip)",
);

for (const name of words("movs cmps stos lods scas")) {
  both(`${name}b`, `${name}w`, `${name}l`, `rep ${name}b`, `repne ${name}w`, `repe ${name}l`);
  only64(`${name}q`, `rep ${name}q`);
}
both("insb", "insw", "insl", "outsb", "outsw", "outsl", "rep insl", "rep outsb", "fs movsb", "rep fs lodsl");
only64("addr32 movsb", "addr32 rep stosq", "gs lodsq");
only32("addr16 movsb", "addr16 rep stosl");
both(
  "in $0x60,%al",
  "in $0x60,%ax",
  "in $0x60,%eax",
  "in (%dx),%al",
  "in %dx,%ax",
  "in %dx,%eax",
  "out %al,$0x80",
  "out %ax,$0x80",
  "out %eax,$0x80",
  "out %al,(%dx)",
  "out %ax,%dx",
  "out %eax,%dx",
  "inb $0x71",
  "outb $0x70",
  "inb (%dx)",
  "outl %dx",
  "inw %dx",
  "outb %al,%dx",
  "inl %dx,%eax",
);

for (const seg of words("es ss ds fs gs")) {
  both(
    `mov %eax,%${seg}`,
    `mov %ax,%${seg}`,
    `mov (%ecx),%${seg}`,
    `mov %${seg},%eax`,
    `mov %${seg},%ax`,
    `mov %${seg},(%ecx)`,
    `movw %${seg},sym`,
    `movw sym,%${seg}`,
    `movl %eax,%${seg}`,
  );
  only64(`mov %rax,%${seg}`, `mov %${seg},%rax`, `movq %${seg},%rcx`, `mov %${seg},%r9d`, `mov %r9d,%${seg}`);
}
both("mov %cs,%eax", "mov %cs,%cx", "mov %cs,sym");
both("lss sym,%esp", "lfs (%esi),%eax", "lgs sym,%cx");
only32("lds (%esi),%eax", "les 4(%edi),%cx", "lss (%eax),%esp");
only64("lfs 8(%rcx),%edx");
for (const name of words("sldt str smsw")) {
  both(`${name} %eax`, `${name} %cx`, `${name} sym`, `${name}w sym`);
  only64(`${name} %rax`, `${name} %r8d`);
}
for (const name of words("lldt ltr verr verw lmsw")) both(`${name} %ax`, `${name} sym`, `${name} (%ecx)`);
both("lar %cx,%eax", "lar %ecx,%eax", "lsl sym,%edx", "lsl %ecx,%edx", "lar %cx,%dx", "lsl %dx,%eax", "lsl %ecx,%ecx");
only64("lar %ecx,%r8d", "ltr %r9w");
both("lgdt sym", "lidt sym", "sgdt sym", "sidt sym", "lgdt (%ecx)", "lidt %cs:sym", "invlpg sym", "invlpg (%eax)");
only64(
  "lgdt (%rax)",
  "lidt 0x10(%rsp)",
  "invlpg (%rdi)",
  "lgdt sym(%rip)",
  "lidtq (%rax)",
  "invpcid (%rsi),%rax",
  "invpcid 0x10(%r8),%r9",
);
only32("invpcid (%esi),%eax", "lgdtl (%eax)");
both(
  ...words(
    "clac stac serialize rdtscp syscall sysret sysretl sysenter sysexit clts invd wbinvd wrmsr rdtsc rdmsr cpuid rsm lfence mfence sfence endbr64 endbr32",
  ),
);
only64(...words("swapgs sysretq sysexitq sysexitl"));
for (const name of words("rdfsbase rdgsbase wrfsbase wrgsbase"))
  only64(`${name} %eax`, `${name} %rcx`, `${name} %r10`, `${name} %r11d`);
for (const cr of [0, 2, 3, 4]) {
  only32(`mov %cr${cr},%eax`, `mov %esi,%cr${cr}`);
  only64(`mov %cr${cr},%rax`, `mov %rdi,%cr${cr}`, `movq %cr${cr},%r9`);
}
only64("mov %cr8,%rax", "mov %rbx,%cr8", "mov %r15,%cr3");
for (const dr of [0, 3, 6, 7]) {
  only32(`mov %db${dr},%eax`, `mov %esi,%dr${dr}`);
  only64(`mov %dr${dr},%rax`, `mov %r8,%db${dr}`, `movq %rax,%dr${dr}`);
}
both(
  "prefetchnta sym",
  "prefetcht0 (%eax)",
  "prefetcht1 (%eax)",
  "prefetcht2 (%eax)",
  "prefetchw (%eax)",
  "prefetch (%eax)",
  "prefetchwt1 (%eax)",
  "movnti %eax,(%ecx)",
);
only64(
  "movnti %rax,(%rcx)",
  "movnti %r8d,sym(%rip)",
  "rdsspq %rax",
  "rdsspd %ecx",
  "prefetchw 0x40(%rdi)",
  "cldemote (%rax)",
);
both(
  "data16 hlt",
  "cs nop",
  "lock xaddl %eax,sym",
  "movl $1,%fs:sym",
  "testb $1,4(%esp)",
  "testl $0x8000,8(%esp)",
  "cmpl $-1,4(%esp)",
);

/** Lines that GNU as refuses; so does `encode`. */
export const REFUSED = {
  32: [
    "mov %eax,%bl",
    "swapgs",
    "push %rax",
    "mov %r8d,%eax",
    "incl",
    "lock mov %eax,(%ecx)",
    "lock add %eax,%ecx",
    "movabs $1,%eax",
    "iretq",
    "mov %sil,%al",
    "lea %eax,%ecx",
    "mov (%bx,%cx),%eax",
    "mov (%esp,%esp,2),%eax",
    "int $256",
    "foo",
    "bswap %ax",
    "repz add %eax,(%eax)",
    "cs mov %es:(%ecx),%al",
    "rep repne movsb",
  ],
  64: [
    "pusha",
    "push %eax",
    "push %es",
    "pop %ds",
    "into",
    "mov %ah,%r8b",
    "add $0x123456789,%rax",
    "jmp *%eax",
    "call *%ecx",
    "lds (%rax),%eax",
    "mov (%bx),%eax",
    "pushq $0x123456789",
    "lgdt %rax",
    "mov %cs,%r16",
    "mov %eax,%cr0",
    "lock nop",
    "mov %ah,(%r8)",
    "mov (%rax,%rsp,2),%eax",
  ],
};

export const LINES = { 32: [...BOTH, ...ONLY32], 64: [...BOTH, ...ONLY64] };

/** Encodings that no line of assembly gives: padding with a prefix written twice, or with a SIB byte that has no index. */
export const BYTES = {
  32: [
    "66 66 90",
    "66 66 2e 0f 1f 84 00 00 00 00 00",
    "67 67 8b 07",
    "f3 f3 a4",
    "64 64 8b 00",
    "8d b4 26 00 00 00 00",
    "8d 74 26 00",
    "8b 04 24",
    "8b 04 64",
    "8b 04 25 00 10 00 00",
    "8b 04 65 00 10 00 00",
    "67 8b 07",
    "3e ff e0",
    "3e ff 20",
    "3e ff 55 08",
    "3e ff 28",
    "3e 66 ff e0",
    "3e eb 00",
  ],
  64: [
    "66 66 90",
    "66 66 66 90",
    "66 66 2e 0f 1f 84 00 00 00 00 00",
    "66 66 66 66 2e 0f 1f 84 00 00 00 00 00",
    "66 66 48 e8 00 00 00 00",
    "66 66 0f 38 82 01",
    "2e 2e 89 c8",
    "65 65 8b 00",
    "67 67 8b 00",
    "f0 f0 ff 00",
    "f3 f3 a4",
    "f2 f2 c3",
    "8d b4 26 00 00 00 00",
    "48 8d 74 26 00",
    "8b 04 24",
    "8b 04 64",
    "41 8b 04 24",
    "41 8b 04 64",
    "41 8b 44 25 00",
    "8b 04 25 00 10 00 00",
    "8b 04 65 00 10 00 00",
    "67 8b 04 25 00 10 00 00",
    "67 8b 04 65 00 10 00 00",
    "67 8b 04 20",
    "3e ff e0",
    "3e ff 20",
    "3e ff 55 08",
    "3e ff d2",
    "3e ff 28",
    "3e eb 00",
  ],
};
