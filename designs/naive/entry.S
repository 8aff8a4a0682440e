/*
 * The NMI entry of a kernel that knows nothing of nested NMIs: the hardware's frame on the IST stack is the only one,
 * and the register frame (pt_regs) is built right below it.
 */
	.text
	.globl	entry_nmi
entry_nmi:
	pushq	$-1			/* ORIG_RAX: no system call to restart */
	subq	$15*8, %rsp		/* room for the registers */
	call	save_paranoid
	movq	%rsp, %rdi
	call	nmi_handler
	testl	%ebx, %ebx
	jnz	nmi_restore
	swapgs
nmi_restore:
	call	restore_regs
	addq	$15*8+8, %rsp
	iretq
