/*
 * The NMI entry of the post: the "NMI executing" variable and two more copies of the frame live at fixed places of the
 * NMI stack, found from where the hardware puts its own frame. From the stack's high end:
 *
 *      -8  original SS                        -104  copied SS
 *     -16  original RSP                       -112  copied RSP
 *     -24  original RFLAGS                    -120  copied RFLAGS
 *     -32  original CS                        -128  copied CS
 *     -40  original RIP                       -136  copied RIP       the frame that the last IRETQ uses
 *     -48  temporary storage for rdx          -144  ORIG_RAX         pt_regs: from r15 to the copied frame
 *     -56  NMI executing                      -264  r15
 *     -64  saved SS
 *     -72  saved RSP
 *     -80  saved RFLAGS
 *     -88  saved CS
 *     -96  saved RIP
 *
 * The archive's copy of the patch has lost its labels and some lines. Every number is the post's. Where the text left a
 * choice, a comment says "Reconstructed".
 *
 * Symbols that change it:
 *   NO_VARIABLE, NO_STACK_TEST, NO_SAVED_FRAME, NO_FIXUP_CHECK   leave one piece out
 *   POSTED_RDI      the nested path with the register that the posted lines have there
 *   SAVE_CR2        beyond the post: keeps CR2 over the handler
 *   TEST_CS         beyond the post: an NMI from user mode is a first one, wherever RSP points
 *   MARK_WINDOW     beyond the post: DF = 1 marks the instructions that run with the variable clear
 */
	.set	KERNEL_CS, 0x10
	.set	KERNEL_DS, 0x18
	.set	FLAG_DF, 0x400

/* Is the address in \stack on the NMI stack whose high end is in \reg? Both ends count as inside. */
	.macro	test_in_nmi reg stack nmi_ret normal_ret
	cmpq	%\reg, \stack
	ja	\normal_ret
	subq	$4096, %\reg
	cmpq	%\reg, \stack
	jb	\normal_ret
	jmp	\nmi_ret
	.endm

	.text
	.globl	entry_nmi
entry_nmi:
	/* Use rdx as the temporary throughout. */
	pushq	%rdx
.ifdef TEST_CS
	testb	$3, 2*8(%rsp)
	jnz	first_nmi
.endif
	/* Is the variable set? Then an NMI is executing. The post's `cmp` has no suffix: GNU as takes 32 bits. */
.ifndef NO_VARIABLE
	cmpl	$1, -8(%rsp)
	je	nested_nmi
.endif
	/* Did the NMI interrupt code on the NMI stack? Then it struck after the variable was cleared. */
.ifndef NO_STACK_TEST
	leaq	6*8(%rsp), %rdx
.ifndef MARK_WINDOW
	test_in_nmi rdx, 4*8(%rsp), nested_nmi, first_nmi
.else
	test_in_nmi rdx, 4*8(%rsp), on_nmi_stack, first_nmi
on_nmi_stack:
	testl	$FLAG_DF, 3*8(%rsp)
	jz	first_nmi
.endif
.else
	jmp	first_nmi
.endif

nested_nmi:
	/* Do nothing if the NMI interrupted repeat_nmi: the handler is about to run again anyway. */
.ifndef NO_FIXUP_CHECK
	leaq	repeat_nmi, %rdx
	cmpq	1*8(%rsp), %rdx
	ja	1f
	leaq	end_repeat_nmi, %rdx
	cmpq	1*8(%rsp), %rdx
	ja	nested_nmi_out
1:
.endif
	/*
	 * Make the copied frame lead to repeat_nmi, with RSP right below the saved frame. The posted lines use rdi here,
	 * which belongs to the interrupted handler; the comment above them promises rdx. (as-posted.yaml)
	 */
.ifdef POSTED_RDI
	leaq	-6*8(%rsp), %rdi
	movq	%rdi, %rsp
	pushq	$KERNEL_DS
	pushq	%rdi
.else
	leaq	-6*8(%rsp), %rdx
	movq	%rdx, %rsp
	pushq	$KERNEL_DS
	pushq	%rdx
.endif
	pushfq
.ifdef MARK_WINDOW
	orl	$FLAG_DF, (%rsp)	/* the first instruction of repeat_nmi still finds the variable clear */
.endif
	pushq	$KERNEL_CS
	leaq	repeat_nmi, %rdx
	pushq	%rdx
	/* Put the stack back. */
	addq	$(11*8), %rsp

nested_nmi_out:
	popq	%rdx
	/* Reconstructed: the line itself is lost, but "an NMI handler that loses NMI context will not get it back". */
	iretq

first_nmi:
	/* Nested NMIs will use the place where rdx is stored, so that place stays; rdx comes back from there once. */
	pushq	$1			/* NMI executing */
	.rept	5
	pushq	6*8(%rsp)		/* the saved frame, from the original */
	.endr
	.rept	5
	pushq	4*8(%rsp)		/* the copied frame, from the saved one */
	.endr
	/* Do not pop rdx, fetch it: nested NMIs will write here. */
	movq	11*8(%rsp), %rdx

	/* Reconstructed: repeat_nmi comes here with all registers as they were, so after rdx was fetched. */
restart_nmi:
	pushq	$-1			/* ORIG_RAX: no system call to restart */
	subq	$15*8, %rsp		/* room for the registers */
	call	save_paranoid
	movq	%rsp, %rdi
.ifdef SAVE_CR2
	movq	%cr2, %r12
.endif
	call	nmi_handler
.ifdef SAVE_CR2
	movq	%cr2, %rcx
	cmpq	%rcx, %r12
	je	1f
	movq	%r12, %cr2
1:
.endif
	testl	%ebx, %ebx
	jnz	nmi_restore
	swapgs
nmi_restore:
	call	restore_regs
	addq	$15*8+8, %rsp
.ifdef MARK_WINDOW
	std
.endif
	/* Clear the NMI executing variable. */
	movq	$0, 10*8(%rsp)
irq_return:
	iretq

/* Where the last IRETQ leads if there was a nested NMI; RSP is right below the saved frame. */
repeat_nmi:
	/* Update the variable to say that an NMI is still executing. */
	movq	$1, 5*8(%rsp)
	/* Copy the saved frame back to the copied one. */
	.rept	5
.ifndef NO_SAVED_FRAME
	pushq	4*8(%rsp)
.else
	pushq	11*8(%rsp)		/* the original frame, as if the saved one were not needed */
.endif
	.endr
	jmp	restart_nmi
	/* Reconstructed: the range of the fix-up ends after its JMP. */
end_repeat_nmi:
