// Executes single instructions on the CPU of this machine and writes down what they did. Reads fixed-size cases from
// standard input, writes fixed-size results to standard output; record.js makes the one and reads the other.
//
// A child process is the CPU: the parent gives it registers with ptrace, lets it take one step, and reads them back. The
// two pages of data and the code are shared between both, at the addresses that the cases were made for. A case of
// 32-bit code runs with CS 0x23, which makes it compatibility mode.

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DATA = 0x8000, DATA_SIZE = 0x2000, CODE = 0x10000000, CODE_SIZE = 0x80000, STEPS_AT_MOST = 1000 };

struct input {
  uint8_t mode, repeats, length, code[21];
  uint64_t rip, gpr[16], flags, fs_base, gs_base;
  uint8_t data[DATA_SIZE];
};

struct output {
  uint32_t signal, code; // 0: the step was done
  uint64_t address;      // of the fault
  uint64_t gpr[16], rip, flags, fs_base, gs_base;
  uint8_t data[DATA_SIZE];
};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void share(uintptr_t address, size_t size, int protection) {
  void *at = mmap((void *)address, size, protection, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at != (void *)address) fail("mmap (the data lies below 64 KiB for 16-bit addressing: run as root)");
}

// General registers in encoding order.
static unsigned long long *general(struct user_regs_struct *r, int number) {
  unsigned long long *places[16] = {&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp, &r->rsi, &r->rdi,
                                    &r->r8,  &r->r9,  &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15};
  return places[number];
}

static void set_registers(pid_t child, const struct input *in) {
  struct user_regs_struct r;
  if (ptrace(PTRACE_GETREGS, child, 0, &r)) fail("PTRACE_GETREGS");
  for (int i = 0; i < 16; i++) *general(&r, i) = in->gpr[i];
  r.rip = in->rip;
  r.eflags = in->flags;
  r.orig_rax = -1; // not in a system call
  r.cs = in->mode == 32 ? 0x23 : 0x33;
  r.ss = 0x2b;
  r.ds = r.es = in->mode == 32 ? 0x2b : 0;
  r.fs = r.gs = 0;
  r.fs_base = in->fs_base;
  r.gs_base = in->gs_base;
  if (ptrace(PTRACE_SETREGS, child, 0, &r)) fail("PTRACE_SETREGS");
}

static void run(pid_t child, const struct input *in, struct output *out) {
  memset(out, 0, sizeof *out);
  memcpy((void *)DATA, in->data, DATA_SIZE);
  memcpy((void *)in->rip, in->code, in->length);
  set_registers(child, in);
  struct user_regs_struct r;
  for (int steps = 0;; steps++) {
    if (steps == STEPS_AT_MOST) {
      fprintf(stderr, "no end at %llx\n", (unsigned long long)in->rip);
      exit(1);
    }
    if (ptrace(PTRACE_SINGLESTEP, child, 0, 0)) fail("PTRACE_SINGLESTEP");
    int status;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) fail("waitpid");
    if (ptrace(PTRACE_GETREGS, child, 0, &r)) fail("PTRACE_GETREGS");
    if (WSTOPSIG(status) != SIGTRAP) {
      siginfo_t info;
      if (ptrace(PTRACE_GETSIGINFO, child, 0, &info)) fail("PTRACE_GETSIGINFO");
      out->signal = WSTOPSIG(status);
      out->code = info.si_code;
      out->address = (uintptr_t)info.si_addr;
      break;
    }
    if (!in->repeats || r.rip != in->rip) break; // with REP the CPU stops after each iteration
  }
  for (int i = 0; i < 16; i++) out->gpr[i] = *general(&r, i);
  out->rip = r.rip;
  out->flags = r.eflags;
  out->fs_base = r.fs_base;
  out->gs_base = r.gs_base;
  memcpy(out->data, (void *)DATA, DATA_SIZE);
}

int main(void) {
  share(DATA, DATA_SIZE, PROT_READ | PROT_WRITE);
  share(CODE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, 0, 0)) fail("PTRACE_TRACEME");
    raise(SIGSTOP);
    return 1;
  }
  int status;
  if (waitpid(child, &status, 0) != child) fail("waitpid");
  static struct input in;
  static struct output out;
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    run(child, &in, &out);
    if (fwrite(&out, sizeof out, 1, stdout) != 1) fail("fwrite");
  }
  kill(child, SIGKILL);
  return 0;
}
