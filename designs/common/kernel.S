/*
 * The kernel around an NMI entry: what naive and rostedt-2011 have in common, so that they differ in nothing but the
 * entry itself. In the manner of a kernel of 2011: registers are saved by a subroutine, #DB and #BP share an IST stack.
 *
 *   nmi_handler, nmi_handler_end   the body of the NMI handler: %rdi points at the register frame (pt_regs)
 *   nmi_handler_load               an instruction of the body that reads memory
 *   save_paranoid, restore_regs    registers into and out of that frame
 *   entry_db, entry_bp, entry_mc   exceptions on IST stacks
 *   entry_pf                       page fault: no IST, an error code
 *   entry_df                       double fault: the end
 *   entry_syscall                  SYSCALL: begins with the user's RSP and GS base
 *
 * Symbols that change it: CLAC (the NMI entry clears AC).
 */
	.set	MSR_MCG_STATUS, 0x17a
	.set	MSR_GS_BASE, 0xc0000101

	/* the register frame, from its low end */
	.set	PT_r15, 0
	.set	PT_r14, 1*8
	.set	PT_r13, 2*8
	.set	PT_r12, 3*8
	.set	PT_rbp, 4*8
	.set	PT_rbx, 5*8
	.set	PT_r11, 6*8
	.set	PT_r10, 7*8
	.set	PT_r9, 8*8
	.set	PT_r8, 9*8
	.set	PT_rax, 10*8
	.set	PT_rcx, 11*8
	.set	PT_rdx, 12*8
	.set	PT_rsi, 13*8
	.set	PT_rdi, 14*8

	/* per-CPU data, from the kernel's GS base */
	.set	CPU_SELF, 0
	.set	CPU_KERNEL_STACK, 8
	.set	CPU_USER_RSP, 16
	.set	CPU_NMI_REGS, 24

	.text
/*
 * The body of the handler: works on its stack, changes registers that the ABI lets it change and the arithmetic flags,
 * and uses per-CPU data. The breakpoints, page faults and machine checks of the threats strike here.
 */
	.globl	nmi_handler, nmi_handler_end, nmi_handler_load
nmi_handler:
	pushq	%rbx
	movq	%rdi, %gs:CPU_NMI_REGS
	movl	$17, %eax
nmi_handler_load:
	movq	%gs:CPU_NMI_REGS, %rbx
	cmpq	%rdi, %rbx		/* is the per-CPU word still this run's? */
	jne	.
	movq	$0, %gs:CPU_NMI_REGS
	movl	%eax, %ecx
	movl	%eax, %edi
	popq	%rbx
nmi_handler_end:
	ret

/*
 * Sees to the GS base: %ebx = 1 when it was the kernel's already, 0 when SWAPGS has made it so. The saved CS does not
 * tell, because the first and the last instructions of a system call run at CPL 0 with the user's base. So the base
 * itself is asked: a kernel's address is negative. Changes %rax, %rcx and %rdx.
 */
	.macro	KERNEL_GS
	movl	$1, %ebx
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	testl	%edx, %edx
	js	1f
	swapgs
	xorl	%ebx, %ebx
1:
	.endm

/* Fills the register frame that the caller has made room for (the return address lies below it), and sees to the GS base. */
	.globl	save_paranoid
save_paranoid:
	cld
.ifdef CLAC
	clac
.endif
	.irp	reg, rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15
	movq	%\reg, PT_\reg+8(%rsp)
	.endr
	KERNEL_GS
	ret

	.globl	restore_regs
restore_regs:
	.irp	reg, r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi
	movq	PT_\reg+8(%rsp), %\reg
	.endr
	ret

/* Exceptions that may strike with either GS base: as above, but only the registers that are used are saved. */
	.macro	PARANOID_ENTRY
	pushq	%rax
	pushq	%rbx
	pushq	%rcx
	pushq	%rdx
	KERNEL_GS
	.endm

	.macro	PARANOID_EXIT
	testl	%ebx, %ebx
	jnz	1f
	swapgs
1:	popq	%rdx
	popq	%rcx
	popq	%rbx
	popq	%rax
	iretq
	.endm

	.globl	entry_db, entry_bp, entry_mc
entry_db:
entry_bp:
	PARANOID_ENTRY
	movq	%gs:CPU_SELF, %rax
	PARANOID_EXIT

/* MCG_STATUS is cleared before the return: while MCIP is set, another machine check shuts the CPU down. */
entry_mc:
	PARANOID_ENTRY
	movq	%gs:CPU_SELF, %rax
	movl	$MSR_MCG_STATUS, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	PARANOID_EXIT

/* Nothing here can page-fault on its way in or out of CPL 0, so the saved CS tells which GS base is in place. */
	.globl	entry_pf
entry_pf:
	pushq	%rax
	testb	$3, 3*8(%rsp)		/* rax, error code, RIP, CS */
	jz	1f
	swapgs
1:	movq	%gs:CPU_SELF, %rax
	movq	%cr2, %rax
	testb	$3, 3*8(%rsp)
	jz	2f
	swapgs
2:	popq	%rax
	addq	$8, %rsp		/* the error code */
	iretq

	.globl	entry_df
entry_df:
	hlt
	jmp	entry_df

/* A system call: returns %rdi + 1. */
	.globl	entry_syscall
entry_syscall:
	swapgs
	movq	%rsp, %gs:CPU_USER_RSP
	movq	%gs:CPU_KERNEL_STACK, %rsp
	pushq	%gs:CPU_USER_RSP
	pushq	%r11
	pushq	%rcx
	leaq	1(%rdi), %rax
	popq	%rcx
	popq	%r11
	popq	%rsp
	swapgs
	sysretq
